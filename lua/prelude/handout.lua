-- handout: who holds a session, and what for.
--
-- NEXT   event token fails crashes backs since head hash
--        reply token fails crashes backs since head hash
--        update token fails crashes backs since head hash
--                                      what to do, under which token; of what is at the head its failures,
--                                      its crashes, how often it was handed back, and since when it is put
--                                      off; head: of the inbox the first, of the outbox the first hundred;
--                                      hash: as it stands

-- handed is what a reply says next of the lease.
local function handed(head)
  local hash = redis.call('HGETALL', session)
  if s.work == 'reply' then return {s.work, s.token, s.ofails, s.ocrashes, s.obacks, s.osince, head, hash} end
  return {s.work, s.token, s.fails, s.crashes, s.backs, s.since, head, hash}
end

-- still tells what this call, or whoever has the token, holds of the session: for
-- one whose reply was lost, and who asks again.
local function still(token)
  if s and s.lease > now and (s.holder == op or s.token == token) then return s.work end
  return 'idle'
end

-- grant gives the lease to the caller, each time under a new token.
local function grant(work)
  s.token = new_token()
  s.lease, s.work, s.holder = now + lease, work, op
  if work == 'event' then s.way = 0 end
  list_due(s.lease)
end
