-- history: reads a part of the chat. It writes nothing.
--
-- USES   clock record list hand
-- KEYS   session history inbox outbox
-- ARGV   op deadline after since till limit newest inboxed
--        after: only messages with a greater number; since, till: only from and
--        up to that ms, inclusive, or empty; limit: negative for all; newest: 1 to count it
--        from the end; inboxed: 1 to add the inbox
-- WRITES no
-- REPLY  OK now first messages queued  first is the number of the first message
--        NOTFOUND now
--        LAYOUT now layout | CORRUPT now field

after, limit = tonumber(after), tonumber(limit)
if not s or s.ended or over then return {'NOTFOUND', now} end

local length = redis.call('LLEN', history)
local base = s.seq - length -- the number of the message before the first that is kept

-- up_to counts the messages up to that ms; nil if one without a time is in the
-- way. The times in a chat never go back.
local function up_to(ms)
  local low, high = 0, length
  while low < high do
    local middle = math.floor((low + high) / 2)
    local at = moment(redis.call('LINDEX', history, middle), 1)
    if not at then return nil end
    if at <= ms then low = middle + 1 else high = middle end
  end
  return low
end

local earlier = since == '' and 0 or up_to(since - 1)
local all = till == '' and length or up_to(tonumber(till))
if not earlier or not all then return {'CORRUPT', now, 'history'} end
local from, to = math.max(after - base, earlier), all - 1
if limit >= 0 and to - from + 1 > limit then
  if newest == '1' then from = to - limit + 1 else to = from + limit - 1 end
end
local messages = {}
if to >= from then messages = redis.call('LRANGE', history, from, to) end
local queued = {}
if inboxed == '1' then
  queued = redis.call('LRANGE', inbox, 0, -1)
  local digest, when, _, event = in_hand()
  if digest then table.insert(queued, 1, inbox_element(digest, stamp(when), event)) end
end
return {'OK', now, base + from + 1, messages, queued}
