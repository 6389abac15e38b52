-- moves: how often a bot's sessions moved from one state to another.

-- count_move counts a move from one state to another. There are at most a thousand
-- such counters; moves between further pairs are counted together, in the field
-- without names, so that states named after ids do not fill the memory. A counter
-- that is not a number, or a key that is no hash, is ignored: it stops no turn.
local function count_move(pair)
  if redis.pcall('HINCRBY', moves, pair, 1) ~= 1 then return end
  local pairs = redis.pcall('HLEN', moves)
  if type(pairs) ~= 'number' or pairs <= 1000 then return end
  redis.pcall('HDEL', moves, pair)
  redis.pcall('HINCRBY', moves, '\0', 1)
end
