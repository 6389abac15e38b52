-- commit: ends a turn on a session that is, byte for byte, as its holder knows it.
-- If the stored record is the same text, nothing has happened to the session since,
-- and what the turn writes, the next record included, is right as the holder computed
-- it. Else nothing is written, and the holder asks settle.
--
-- Redis takes nothing back by itself. So each command is tried whose key may be of
-- another type, or whose right may be gone; the one that cannot fail comes last; and
-- what was written before a failure is taken back by a command whose right, on that
-- key, is proven by then.
--
-- A turn that was run before its event was accepted (eager) is the same: then the
-- record is that of the free session, nothing is in hand, and the line is the first
-- that is known of the event.
--
-- USES   clock deadline tell moves
-- KEYS   session history outbox events bells moves index watch
-- ARGV   op deadline id bell rec eager at till digest line score pair limit net state version replies chat all...
--        at: the server's time by which all this was computed, ms; not ahead, at most a second ago, and a
--        second before the end of the lease
--        bell: the session's own, see bells; till: when the lease on the replies ends, ms; empty if there are
--        none, and the session is free
--        line: what became of the event, see ids; score: the session's new place in the index, empty if it stays
--        pair: the states of a move, see moves, or empty; limit: of the history, 0: none; net: when Redis drops
--        it, 0: never; state, version: the next ones; replies, chat: how many of each there are
--        all: the replies, the messages, then field, value, ... of the hash
-- WRITES yes
-- FINAL  all
-- REPLY  OK now | CHANGED now
--        LATE now

local call, try, may = redis.call, redis.pcall, redis.acl_check_cmd
local known = eager == '1' and try('HGET', events, digest)
if known == line then return {'OK', now} end -- this call did it, and only the reply was lost
local found = try('HMGET', session, 'rec', 'state')
if known or now < at + 0 or now - at > 1000 or found[1] ~= rec or not found[2] then return {'CHANGED', now} end
if may and not (may('HSET', session, 'rec', '') and (replies == '0' or may('DEL', outbox) and may('ZREM', bells, bell))) then
  return {'CHANGED', now}
end

local first = all + replies -- the messages begin there
local fields = first + chat
local wrote = 0
if replies ~= '0' then wrote = try('RPUSH', outbox, unpack(ARGV, all, first - 1)) end
if type(wrote) == 'number' then
  if score ~= '' then wrote = try('ZADD', index, score, id) end
  if type(wrote) == 'number' then
    wrote = try('HSET', events, digest, line)
    if type(wrote) == 'number' then
      if till ~= '' then wrote = try('ZADD', bells, till, bell)
      elseif eager ~= '1' then wrote = try('ZREM', bells, bell) end
      if type(wrote) == 'number' then
        local length = try('RPUSH', history, unpack(ARGV, first, fields - 1))
        if type(length) == 'number' then
          call('HSET', session, unpack(ARGV, fields))
          if limit ~= '0' and length > limit + 0 then try('LTRIM', history, -limit, -1) end
          if length == chat + 0 and net ~= '0' then try('PEXPIREAT', history, net) end
          if pair ~= '' then count_move(pair) end
          local channel = try('GET', watch)
          if type(channel) == 'string' then
            if eager == '1' then tell(channel, 'accepted', version, state, '') end
            tell(channel, 'committed', version, state, digest)
          end
          return {'OK', now}
        end
        if eager ~= '1' then call('ZADD', bells, string.match(rec, '^%l+ %d+ %d+ %S+ (%d+)'), bell)
        elseif till ~= '' then call('ZREM', bells, bell) end
      end
      call('HSET', events, digest, 'v' .. string.rep('\0', 24)) -- void, see ids
    end
    if score ~= '' then call('ZADD', index, string.match(rec, '(%d+) |'), id) end
  end
  if replies ~= '0' then call('DEL', outbox) end
end
return {'CHANGED', now}
