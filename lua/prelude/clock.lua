-- clock: the server's time, taken once, so that all of a script happens at one
-- moment. A client's clock is never asked.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) -- Unix milliseconds

-- int prints an integer in full: tostring and .. turn 16 digits into 1.7e+15.
-- What redis.call gets as a number it prints in full by itself.
local function int(n)
  return string.format('%d', n)
end
