-- list: elements of the session's lists. Only these functions write one (of the
-- history: apply), or take one apart; and in Go those that are named here, of package
-- stored:
--
--   history   stamp, message                                  DecodeEntry
--   inbox     16 bytes of digest of the event's id,           ReadAccepted
--             stamp, extras, event
--   outbox    life, ':', number, ':', n, ':', n bytes of      ReadUnsent
--             extras and the event's id, an element of the history
--   letters   stamp, 'e' or 'r', n, ':', n bytes of why,      DecodeDeadLetter
--             an element of the inbox (e) or outbox (r)
--
-- A number is in decimal. The id is empty of a reply to no event. Extras are Extras of
-- package stored, and to the scripts a part of what is behind them. A stamp is six bytes:
-- when the element was made, in ms of Unix time, big-endian. No two letters of a session
-- have the same one, so that it is a letter's name, too. The digest of an event that was
-- delivered again is that of its letter (DigestOfLetter of package ids), and the root in
-- its extras is what it was first accepted as.

local function stamp(ms)
  local low = ms % 16777216
  local high = (ms - low) / 16777216
  return string.char(math.floor(high / 65536) % 256, math.floor(high / 256) % 256, high % 256,
    math.floor(low / 65536), math.floor(low / 256) % 256, low % 256)
end

-- moment reads the stamp that begins at the byte from of an element: the first of the
-- history and of the letters, the seventeenth of the inbox. It returns nil for an
-- element that is too short.
local function moment(element, from)
  local b1, b2, b3, b4, b5, b6 = string.byte(element, from, from + 5)
  return b6 and ((((b1 * 256 + b2) * 256 + b3) * 256 + b4) * 256 + b5) * 256 + b6
end

local function inbox_element(digest, stamp, event)
  return digest .. stamp .. event
end

local function inbox_digest(element)
  return string.sub(element, 1, 16)
end

-- outbox_element is made of a message that is in the history: said is its element
-- there. life and number are texts.
local function outbox_element(life, number, to, said)
  return life .. ':' .. number .. ':' .. #to .. ':' .. to .. said
end

-- is_reply tells whether an element of the outbox is the reply of that name, which
-- is "life:number" (ids.Reply in Go).
local function is_reply(element, name)
  return string.sub(element, 1, #name + 1) == name .. ':'
end

-- reply_moment reads when a reply in the outbox was made, or nil.
local function reply_moment(element)
  local size, from = string.match(element, '^%d+:%d+:(%d+):()')
  return size and moment(element, from + size)
end

local function letter_element(stamp, kind, why, head)
  return stamp .. kind .. #why .. ':' .. why .. head
end

-- read_letter returns what stands behind a letter's stamp: its kind, why, and the
-- element of the inbox or outbox; or nil for one that cannot be read.
local function read_letter(letter)
  local kind, size = string.match(letter, '^([er])(%d+):', 7)
  if not kind then return nil end
  local why = 7 + 1 + #size + 1
  return kind, string.sub(letter, why, why + size - 1), string.sub(letter, why + size)
end
