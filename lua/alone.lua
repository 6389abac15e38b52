-- alone: tells whether a script has its keys for itself from its begin to its end, as
-- it has on Redis. Package store asks that of a server that says it is another engine,
-- and writes to the key meanwhile, again and again.
--
-- USES   clock
-- KEYS   file
-- ARGV   op deadline times
--        times is how often the script looks at the key
-- WRITES no
-- REPLY  OK now alone                  alone: 1, or 0 if the key changed under the script

local was = redis.call('GET', file)
for _ = 1, times do
  if redis.call('GET', file) ~= was then return {'OK', now, '0'} end
end
return {'OK', now, '1'}
