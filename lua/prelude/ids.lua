-- ids: what is known of ids of events: the lines of events. The field of a line is
-- the digest of the id. A line is seven words with a space between:
--
--   status   p: accepted, d: handled, x: a dead letter, o: dropped by a destroy,
--            u: no event, but a change that was made once, under that id
--   forget   when to forget it, in s; with p it stays while its event waits
--   call     the end of the id of the call that accepted the event (see accept); "-" if that is not known
--   made     1 if that call made the session, else 0
--   token    under which the event was handled, or made a dead letter; else 0
--   first    the number of the first message of its turn; with u the version that was made; else 0
--   last     the number of the last message of its turn, less than first if there is none; else 0
--
-- VOID stands in place of a line that was taken back: its id is not known.
local VOID = 'v'

-- Only the next two functions write a line, or take one apart.

-- write_line returns a line. What it is given are texts, but for forget.
local function write_line(status, forget, call, made, token, first, last)
  return status .. ' ' .. int(forget) .. ' ' .. call .. ' ' .. made .. ' ' .. token .. ' ' .. first .. ' ' .. last
end

-- read_line returns the seven words of a line, or nil for one that cannot be read.
local function read_line(line)
  return string.match(line, '^([pdxou]) (%d+) (%S+) ([01]) (%d+) (%d+) (%d+)$')
end

-- call_of returns the part of a call's id that no other call has.
local function call_of(id)
  return string.match(id, '^.*%-(.*)$') or id
end

-- keep_lines makes the key of the lines live until the moment least. Where it has to be
-- moved, it lives for more ms longer, so that few calls move it.
local function keep_lines(least, more)
  s.kept = now + redis.call('PTTL', events)
  if s.kept >= least then return end
  s.kept = least + more
  if redis.call('PEXPIREAT', events, s.kept) == 0 then s.kept = 0 end -- there are none
end

-- unlisted returns the inbox if the lines of what waits there are lost, as they are
-- when the key expires, after the longest promise in it: an event may wait for
-- longer. It also returns whether the event of the digest wanted is among them.
local function unlisted(wanted)
  if waiting == 0 or redis.call('HLEN', events) > 0 then return nil end
  local elements = redis.call('LRANGE', inbox, 0, -1)
  for _, element in ipairs(elements) do
    if inbox_digest(element) == wanted then return elements, true end
  end
  return elements
end

-- relist writes the lines of what unlisted returned, if anything, from the element
-- number first on: accepted, by nobody who would ask again.
local function relist(elements, first)
  for i = first, elements and #elements or 0 do
    redis.call('HSET', events, inbox_digest(elements[i]), write_line('p', 0, '-', '0', '0', '0', '0'))
  end
end

-- note_id writes the line of a digest, which is remembered for so many ms, and
-- keeps the key for keep ms longer. The ids seen are swept a part at a time, and
-- all of them about twice a window. Each is kept as long as was promised when it
-- was noted, and while its event waits; so their key lives longer than the longest
-- promise, and is never made to live shorter by a caller with a smaller window.
-- lost is what unlisted returned.
local function note_id(digest, line, lost, window, keep)
  redis.call('HSET', events, digest, line)
  relist(lost, 1)
  if now >= s.sweep then
    local cursor = sweep_part(events, redis.call('HGET', events, '') or '0', function(line)
      local status, forget = read_line(line)
      return not status or status ~= 'p' and forget * 1000 <= now
    end)
    if cursor == '0' then
      s.sweep = now + math.floor(window / 2)
      redis.call('HDEL', events, '')
    else
      redis.call('HSET', events, '', cursor)
    end
  end
  keep_lines(now + window + keep, window)
end

-- A change may be made once, under the id of an event. once is the digest of that id,
-- and empty for any other change.

-- applied returns, if the id is known, the version that was made under it, 0 if it
-- is that of an event; nil if it is not known; and -1 for a line that cannot be read.
-- It also returns what unlisted does.
local function applied(once)
  if once == '' then return nil end
  local known = redis.call('HGET', events, once)
  if known then
    local status, forget, _, _, _, version = read_line(known)
    if not status then return -1 end
    if status == 'p' or forget * 1000 > now then return status == 'u' and tonumber(version) or 0 end
    return nil
  end
  local lost, listed = unlisted(once)
  return listed and 0 or nil, lost
end

-- note_applied notes the change that has just been made. It is remembered for
-- window ms.
local function note_applied(once, window, lost)
  if once == '' then return end
  local forget = math.ceil((now + window) / 1000)
  note_id(once, write_line('u', forget, '-', '0', '0', int(s.ver), '0'), lost, tonumber(window), DAY)
end
