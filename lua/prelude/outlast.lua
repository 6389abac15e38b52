-- outlast keeps Redis from dropping a session that its work keeps alive until
-- the moment when.
local function outlast(when)
  if s.net > 0 and s.net < when + WEEK then anchor(when + WEEK + DAY) end
end
