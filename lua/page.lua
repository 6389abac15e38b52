-- page: reads a part of a bucket's list of sessions of one bot, all at one moment: what
-- comes behind an entry, which need not be there any more. It writes nothing.
--
-- Entries are in the order of their scores, those of one score in the order of their
-- ids, byte by byte. What is not in that order in one key comes as several runs, which
-- the caller merges: the index has one for each state, and who is held stands in due or
-- among the bells.
--
-- USES   clock index
-- KEYS   index users waits dead due bells
-- ARGV   op deadline bot list way from to user score id till most
--        list: index, users, waits, dead or held; way: up or down, which the index alone goes
--        from, to: of the index, the first and the last place to look at; user: of users
--        score, id: the entry; till: the last score to look at; both are minutes in the index, counted as in places
--        most: so many entries, of all runs together; of many runs more, four of each
-- WRITES no
-- REPLY  OK now each lengths found{id score}   each: so many of a run were asked for; one that has fewer is at its end;
--                                              lengths: how many each run has; found: one run behind the other

local found, lengths, each = {}, {}, tonumber(most)

-- precedes reports whether a comes before b, byte by byte: the language compares strings
-- as the server's locale does.
local function precedes(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

-- before returns how many members of a sorted set have that score and come before that
-- name, and how many have it at all.
local function before(key, at, name)
  local first = redis.call('ZCOUNT', key, '-inf', '(' .. at)
  local low, all = first, redis.call('ZCOUNT', key, at, at)
  local high = first + all
  while low < high do
    local middle = math.floor((low + high) / 2)
    if precedes(redis.call('ZRANGE', key, middle, middle)[1], name) then low = middle + 1 else high = middle end
  end
  return low - first, all
end

-- run finds the members of one run whose names begin with prefix: behind that of id at a
-- score, up to another score.
local function run(key, prefix, at, last)
  local past, all = before(key, at, prefix .. id .. (way == 'up' and '\0' or ''))
  if way == 'down' then past = all - past end
  local n = 0
  repeat
    local members
    if way == 'up' then
      members = redis.call('ZRANGEBYSCORE', key, at, last, 'WITHSCORES', 'LIMIT', past, each)
    else
      members = redis.call('ZREVRANGEBYSCORE', key, at, last, 'WITHSCORES', 'LIMIT', past, each)
    end
    for i = 1, #members, 2 do
      if string.sub(members[i], 1, #prefix) == prefix then
        found[#found + 1] = string.sub(members[i], #prefix + 1)
        found[#found + 1] = members[i + 1]
        n = n + 1
      end
    end
    past = past + each
  until n >= each or #members < 2 * each
  lengths[#lengths + 1] = n
end

if list == 'index' then
  local states = {}
  each_state(tonumber(from), tonumber(to), function(base) states[#states + 1] = base end)
  each = math.max(4, math.floor(each / math.max(1, #states)))
  for _, base in ipairs(states) do run(index, '', int(base + score), int(base + till)) end
elseif list == 'users' then
  for _, member in ipairs(redis.call('ZRANGEBYLEX', users, '(' .. user .. '\0' .. id, '(' .. user .. '\1', 'LIMIT', 0, each)) do
    found[#found + 1] = string.sub(member, #user + 2)
    found[#found + 1] = '0'
  end
  lengths = {#found / 2}
elseif list == 'held' then
  run(due, '', score, till)
  run(bells, 'h' .. bot .. '/', score, till)
elseif list == 'dead' then
  run(dead, '', score, till)
else
  run(waits, '', score, till)
end
return {'OK', now, each, lengths, found}
