-- clock: the server's time, taken once, so that all of a script happens at one
-- moment. A client's clock is never asked.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) -- Unix milliseconds

-- int prints an integer in full: tostring and .. turn 16 digits into 1.7e+15.
local function int(n)
  return string.format('%.0f', n)
end

-- late tells whether a request arrives after its caller has given up. Such a
-- request must change nothing: the caller was told that it never will.
local function late(deadline)
  return now >= tonumber(deadline)
end
