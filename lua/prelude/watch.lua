-- watch: whether somebody looks on. The watch key, which lives for seconds, holds the
-- channel; nobody watches when there is none.
local channel = redis.call('GET', watch)

-- notice tells what happened to the session as it stands.
local function notice(kind, detail)
  if channel then tell(channel, kind, s and int(s.ver) or '0', s and s.state or '', detail or '') end
end
