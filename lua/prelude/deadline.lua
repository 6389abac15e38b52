-- deadline: a request that arrives after its caller has given up must change
-- nothing: the caller was told that it never will.
if now >= tonumber(deadline) then return {'LATE', now} end
