-- tally: counts a bucket's sessions of one bot, by state, from the names in its
-- index. It writes nothing.
--
-- USES   clock
-- KEYS   names
-- ARGV   op deadline
-- WRITES no
-- REPLY  OK now {state number ...}

local tally, from = {}, '[s'
while true do
  local first = redis.call('ZRANGEBYLEX', names, from, '(t', 'LIMIT', 0, 1)[1]
  if not first then return {'OK', now, tally} end
  local zero = string.find(first, '\0', 1, true)
  if zero then
    local name = string.sub(first, 1, zero - 1)
    from = '[' .. name .. '\1'
    tally[#tally + 1] = string.sub(name, 2)
    tally[#tally + 1] = redis.call('ZLEXCOUNT', names, '[' .. name .. '\0', '(' .. name .. '\1')
  else
    from = '(' .. first -- not ours: step over it
  end
end
