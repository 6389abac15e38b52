-- tally: counts a bucket's sessions of one bot, by state. It writes nothing.
--
-- USES   clock index
-- KEYS   index
-- ARGV   op deadline
-- WRITES no
-- REPLY  OK now tally{place id number}  of each state: the session that was idle for longest, and how many there
--                                      are; states whose names have the same 28 bits are counted together

local tally = {}
each_state(0, LAST, function(base, least, first)
  tally[#tally + 1] = int(least)
  tally[#tally + 1] = first
  tally[#tally + 1] = redis.call('ZCOUNT', index, int(base), int(base + MINUTES - 1))
end)
return {'OK', now, tally}
