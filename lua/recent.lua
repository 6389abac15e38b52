-- recent: lists a bucket's sessions of one bot: of each state those that were active
-- last, all at one moment. It writes nothing.
--
-- USES   clock index
-- KEYS   index
-- ARGV   op deadline from to since till most
--        from, to: the first and the last place to look at; since, till: the first and the last minute, counted as in
--        places; most: how many of each state, negative for all
-- WRITES no
-- REPLY  OK now found{id place}        state by state, those of a state from the greatest place to the least

local found = {}
each_state(tonumber(from), tonumber(to), function(base)
  for _, word in ipairs(redis.call('ZREVRANGEBYSCORE', index, int(base + till), int(base + since), 'WITHSCORES', 'LIMIT', 0, most)) do
    found[#found + 1] = word
  end
end)
return {'OK', now, found}
