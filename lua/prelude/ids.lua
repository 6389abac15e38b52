-- ids: what is known of ids of events: the lines of events. The field of a line is
-- the digest of the id. A line has 25 bytes, or 30; its numbers are big-endian:
--
--   status 1   p: accepted, d: handled, x: a dead letter, o: dropped by a destroy,
--              u: no event, but a change that was made once, under that id,
--              v: void, as if there were no line;
--              a capital letter if the call that accepted the event made the session
--   forget 5   when to forget it, in s; with p it stays while its event waits
--   token  7   under which the event was handled, or made a dead letter; else 0
--   first  5   the number of the first message of its turn; with u the version that was made; else 0
--   call   6   the end of the id of the call that accepted the event (see call_end); 0 if that is not known
--   count  1   how many messages its turn has; 255 if five more bytes follow, which say so
--
-- Only write_line and read_line write a line, or take one apart; and in Go Line of
-- package stored, which mirrors them.

local NOBODY = '\0\0\0\0\0\0' -- the end of no call's id

-- big returns a number in seven bytes. It must not fail, whatever a damaged hash holds:
-- lines are written behind the first write.
local function big(n)
  if n == 0 then return '\0\0\0\0\0\0\0' end
  n = math.max(0, math.min(n, 9007199254740991))
  local low = n % 16777216
  local high = (n - low) / 16777216
  return string.char(math.floor(high / 16777216) % 256, math.floor(high / 65536) % 256, math.floor(high / 256) % 256, high % 256,
    math.floor(low / 65536), math.floor(low / 256) % 256, low % 256)
end

-- call_end returns the end of a call's id in six bytes: three of the SHA-1 of the
-- replica's name, and three of the call's number. Two calls of a replica have one end
-- if they are 16,777,216 calls apart; calls of two replicas seldom: of as many pairs of
-- names one has the same three bytes, and then the numbers must be the same, too. If
-- both accept the same event, the second is told that it was the first. The event is
-- handled once all the same. End of package ids mirrors this.
local function call_end(op)
  local replica, n = string.match(op, '^(.*)#(%w+)$')
  local tag = tonumber(string.sub(redis.sha1hex(replica or op), 1, 6), 16)
  return string.sub(big(tag * 16777216 + (tonumber(n or '0', 36) or 0) % 16777216), 2)
end

-- write_line returns a line. made is '1' or '0'; numbers may be texts, too.
local function write_line(status, forget, call, made, token, first, count)
  if made == '1' then status = string.upper(status) end
  count = count > 254 and '\255' .. string.sub(big(count), 3) or string.char(math.max(count, 0))
  return status .. string.sub(big(forget), 3) .. big(token) .. string.sub(big(first), 3) .. call .. count
end

-- read_line returns what write_line was given, or nil for a line that cannot be read.
-- The token is a text.
local function read_line(line)
  local letter, f1, f2, f3, f4, f5, t1, t2, t3, t4, t5, t6, t7, n1, n2, n3, n4, n5, _, _, _, _, _, _, count = string.byte(line, 1, 25)
  local status = string.match(line, '^[PDXOUVpdxouv]')
  if not status or #line ~= (count == 255 and 30 or 25) then return nil end
  if count == 255 then
    local c1, c2, c3, c4, c5 = string.byte(line, 26, 30)
    count = (((c1 * 256 + c2) * 256 + c3) * 256 + c4) * 256 + c5
  end
  return string.lower(status), (((f1 * 256 + f2) * 256 + f3) * 256 + f4) * 256 + f5, string.sub(line, 19, 24), letter < 97 and '1' or '0',
    int((((((t1 * 256 + t2) * 256 + t3) * 256 + t4) * 256 + t5) * 256 + t6) * 256 + t7),
    (((n1 * 256 + n2) * 256 + n3) * 256 + n4) * 256 + n5, count
end

-- is_known tells whether a line still says what is known of its id.
local function is_known(status, forget)
  return status == 'p' or status ~= 'v' and forget * 1000 > now
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
    redis.call('HSET', events, inbox_digest(elements[i]), write_line('p', 0, NOBODY, '0', 0, 0, 0))
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
      return not status or status == 'v' or status ~= 'p' and forget * 1000 <= now
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
    if is_known(status, forget) then return status == 'u' and version or 0 end
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
  note_id(once, write_line('u', forget, NOBODY, '0', 0, s.ver, 0), lost, tonumber(window), DAY)
end
