-- For wrk: sends the requests of a file in turn (whole heads, as pace.rs takes them), and prints what came of it.
-- Arguments: the file. The heads are sent as they stand, so wrk spends next to nothing on making them.

local requests, turn = {}, 0

function init(arguments)
    local file = assert(io.open(arguments[1], "rb"))
    for head in file:read("*a"):gmatch("(.-\r\n\r\n)") do
        requests[#requests + 1] = head
    end
    file:close()
end

function request()
    turn = turn % #requests + 1
    return requests[turn]
end

function done(summary)
    local errors = summary.errors
    print(string.format(
        'RESULT {"answered": %d, "seconds": %.6f, "connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}',
        summary.requests, summary.duration / 1e6,
        errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
