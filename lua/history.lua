-- history: reads a part of the chat. It writes nothing.
--
-- USES   clock record moment
-- KEYS   session history inbox outbox
-- ARGV   op deadline after since till limit newest inboxed
--        after: only messages with a greater number; since, till: only from and
--        up to that ms, inclusive, or empty; limit: negative for all; newest: 1 to count it
--        from the end; inboxed: 1 to add the inbox
-- WRITES no
-- REPLY  OK now first messages inbox   first is the number of the first message
--        NOTFOUND now
--        LAYOUT now layout | CORRUPT now field

after, limit = tonumber(after), tonumber(limit)
if not s or s.ended or over then return {'NOTFOUND', now} end

local length = redis.call('LLEN', history)
local base = s.seq - length -- the number of the message before the first that is kept
local from, to = math.max(after - base, 0), length - 1

-- up_to counts the messages up to that ms. The times in a chat never go back.
local function up_to(ms)
  local low, high = 0, length
  while low < high do
    local middle = math.floor((low + high) / 2)
    if moment(redis.call('LINDEX', history, middle)) <= ms then low = middle + 1 else high = middle end
  end
  return low
end

if since ~= '' then from = math.max(from, up_to(since - 1)) end
if till ~= '' then to = up_to(tonumber(till)) - 1 end
if limit >= 0 and to - from + 1 > limit then
  if newest == '1' then from = to - limit + 1 else to = from + limit - 1 end
end
local messages = {}
if to >= from then messages = redis.call('LRANGE', history, from, to) end
return {'OK', now, base + from + 1, messages, inboxed == '1' and redis.call('LRANGE', inbox, 0, -1) or {}}
