-- tally: counts a bucket's sessions of one bot, by state, from the names in its
-- index. It writes nothing.
--
-- USES   clock
-- KEYS   names
-- ARGV   op deadline
-- REPLY  OK now {state number ...}

local tally, from = {}, '[s'
while true do
  local first = redis.call('ZRANGEBYLEX', names, from, '(t', 'LIMIT', 0, 1)[1]
  if not first then return {'OK', now, tally} end
  local name = string.sub(first, 1, string.find(first, '\0', 1, true) or -1)
  from = '[' .. string.sub(name, 1, -2) .. '\1'
  tally[#tally + 1] = string.sub(name, 2, -2)
  tally[#tally + 1] = redis.call('ZLEXCOUNT', names, '[' .. name, '(' .. string.sub(from, 2))
end
