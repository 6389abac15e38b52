-- change: a Change as the store sends it, from ARGV[at] on, and writing it.
--
--   reset      '' | 'keep' | 'drop' (the chat)      initial   the state of a new life
--   destroy    '' | '1'                             from      '' | the state it must be in
--   ttl        '' | 'bot' | ms (0: for ever)        bot ttl   ms (0: for ever)
--   limit      of the history, 0: none              file      '' | '1': the next is its bytes
--   bytes      of the file                          dirty     '1' if anything here is a change
--   then four counts (moves, set, del, chat) and as many strings: states
--   entered; field, value, ...; fields; send ('1' or ''), message, ...

local function parse_change(at)
  local c = {reset = ARGV[at], initial = ARGV[at + 1], destroy = ARGV[at + 2] == '1', from = ARGV[at + 3],
    ttl = ARGV[at + 4], bot_ttl = ARGV[at + 5], limit = tonumber(ARGV[at + 6]), has_file = ARGV[at + 7] == '1',
    file = ARGV[at + 8], dirty = ARGV[at + 9] == '1'}
  c.moves = at + 14
  c.set = c.moves + tonumber(ARGV[at + 10])
  c.del = c.set + tonumber(ARGV[at + 11])
  c.chat = c.del + tonumber(ARGV[at + 12])
  c.last = c.chat + tonumber(ARGV[at + 13]) - 1
  return c
end

-- check_change reads every key that apply may write, but for the queues: see
-- check_index.
local function check_change(c)
  redis.call('LLEN', history)
  redis.call('ZCARD', activity)
  redis.call('ZCARD', expiry)
  if c.set > c.moves then redis.call('HLEN', moves) end
  if c.set > c.moves or c.reset ~= '' then
    redis.call('ZCARD', names)
    redis.call('HLEN', counts)
  end
end

-- renew_life empties the session, which apply then puts into its initial state.
-- The life is named after the token under which it began. The sequence numbers
-- of the chat go on.
local function renew_life(c, s)
  local drop = {}
  local fields = redis.call('HKEYS', session)
  for _, f in ipairs(fields) do
    local two = string.sub(f, 1, 2)
    if two == 'd:' or two == 'f:' or f == 'message' or f == 'intent' or f == 'file' then drop[#drop + 1] = f end
  end
  for _, f in ipairs(drop) do redis.call('HDEL', session, f) end
  if c.reset == 'drop' then redis.call('DEL', history) end
  redis.call('DEL', file)
  redis.call('HDEL', session, 'turns')
  s.gen, s.turns = s.token, 0
end

-- apply writes the change. It returns how many fields it deleted, and the
-- sequence numbers of the first and last message it appended. Fields of the
-- hash are collected in put, for one HSET at the end of the script.
local function apply(c, s, id, put)
  local state, deleted, first = s.state, 0, s.seq + 1
  s.at = math.max(now, s.at) -- a server's clock may step back; the chat's times may not
  if c.ttl == 'bot' then
    redis.call('HDEL', session, 'ttl')
    s.ttl = false
  elseif c.ttl ~= '' then
    s.ttl = c.ttl
    put[#put + 1] = 'ttl'
    put[#put + 1] = c.ttl
  end
  if c.reset ~= '' then
    renew_life(c, s)
    state = c.initial
    put[#put + 1] = 'gen'
    put[#put + 1] = s.gen
    put[#put + 1] = 'born'
    put[#put + 1] = int(now)
  end
  for i = c.moves, c.set - 1 do
    redis.call('HINCRBY', moves, state .. '\0' .. ARGV[i], 1)
    state = ARGV[i]
  end
  for i = c.set, c.del - 1 do put[#put + 1] = ARGV[i] end
  for i = c.del, c.chat - 1, 100 do
    deleted = deleted + redis.call('HDEL', session, unpack(ARGV, i, math.min(i + 99, c.chat - 1)))
  end
  if c.chat <= c.last then
    local when, chat, replies = stamp(s.at), {}, {}
    for i = c.chat, c.last, 2 do
      s.seq = s.seq + 1
      chat[#chat + 1] = when .. ARGV[i + 1]
      if ARGV[i] == '1' then replies[#replies + 1] = s.gen .. ':' .. int(s.seq) .. ':' .. chat[#chat] end
    end
    local length = push(history, chat)
    if length == #chat and s.net > 0 then redis.call('PEXPIREAT', history, int(s.net)) end
    if c.limit > 0 and length > c.limit then redis.call('LTRIM', history, -c.limit, -1) end
    push(outbox, replies)
    s.unsent = s.unsent + #replies
    put[#put + 1] = 'seq'
    put[#put + 1] = int(s.seq)
  end
  if c.has_file then
    redis.call('SET', file, c.file)
    if s.net > 0 then redis.call('PEXPIREAT', file, int(s.net)) end
  end
  if state ~= s.state then
    redis.call('ZREM', names, 's' .. s.state .. '\0' .. id)
    redis.call('ZADD', names, 0, 's' .. state .. '\0' .. id)
    if redis.call('HINCRBY', counts, s.state, -1) <= 0 then redis.call('HDEL', counts, s.state) end
    redis.call('HINCRBY', counts, state, 1)
    put[#put + 1] = 'state'
    put[#put + 1] = state
    s.state = state
  end
  slide(s, c.bot_ttl, put, id)
  if c.dirty then
    s.ver = s.ver + 1
    put[#put + 1] = 'ver'
    put[#put + 1] = int(s.ver)
  end
  put[#put + 1] = 'at'
  put[#put + 1] = int(s.at)
  redis.call('ZADD', activity, int(s.at), id)
  return deleted, first, s.seq
end

-- finish takes a session that its own turn ended out of the index. Its hash
-- only carries the lease on until the replies are sent.
local function finish(s, id, bot)
  leave(id, bot, {'s' .. s.state .. '\0' .. id, 'u' .. s.user .. '\0' .. id})
  redis.call('DEL', history)
  redis.call('HDEL', session, 'ttl')
  redis.call('HSET', session, 'end', '1')
  s.ended, s.ttl = true, false
end
