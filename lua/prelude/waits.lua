-- waits: the ids of events that wait. Their lines in events are lost when its key
-- expires, after the longest promise in it: an event may wait for longer. What is
-- in the inbox shows then what is known.

-- unlisted returns the inbox if the lines of what waits there are lost.
local function unlisted()
  if waiting == 0 or redis.call('HLEN', events) > 0 then return {} end
  return redis.call('LRANGE', inbox, 0, -1)
end

-- lost_line is the line of such an event: accepted, by nobody who would ask again.
local lost_line = 'p 0 - 0'

-- relist writes the lines of what unlisted returned, from the element number first on.
local function relist(elements, first)
  for i = first, #elements do redis.call('HSET', events, string.sub(elements[i], 1, 16), lost_line) end
end

-- is_unlisted tells whether the event of that digest is one of them.
local function is_unlisted(elements, wanted)
  for _, element in ipairs(elements) do
    if string.sub(element, 1, 16) == wanted then return true end
  end
  return false
end
