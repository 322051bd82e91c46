-- For Apache 2.4 with mod_lua and LuaSocket. Printed by `keybound verify config apache --script`.
-- Requests the decision of the daemon. A request is denied if the daemon does not answer.

local IDENTITY = { @IDENTITY@ }
-- Patterns of the headers that only the daemon or the proxy may set.
local FORGED = { @FORGED@ }
local METHOD_NOT_ALLOWED = 405
local UNAVAILABLE = 503
-- In bytes.
local MAX_ANSWER = 65536

local function connect()
    local socket = @SOCKET@
    -- In seconds, for each of the steps that follow.
    socket:settimeout(1, "t")
    if not socket:connect(@ADDRESS@) then
        return nil
    end
    socket:settimeout(3, "t")
    return socket
end

-- A value that would end its line denies the request.
local function line(name, value)
    if value:find("[\r\n\0]") then
        error("a line feed in " .. name)
    end
    return name .. ": " .. value .. "\r\n"
end

-- As the API gets it.
local function path(r)
    local origin_form = r.unparsed_uri:gsub("^%a[%w+.-]*://[^/?]*", "")
    return (origin_form:gsub("^/*", "/"))
end

local function request_for(r)
    local text = "GET / HTTP/1.1\r\nhost: keybound\r\nconnection: close\r\n"
    text = text .. line("x-forwarded-host", r.server_name)
    text = text .. line("x-forwarded-method", r.method)
    text = text .. line("x-forwarded-uri", path(r))
    local authorization = r.headers_in["Authorization"]
    if authorization then
        text = text .. line("authorization", authorization)
    end
    local pem = r:ssl_var_lookup("SSL_CLIENT_CERT")
    if pem and pem ~= "" then
        local body = pem:match("BEGIN CERTIFICATE%-+%s*(.-)%s*%-+END CERTIFICATE") or "-"
        text = text .. line("x-ssl-client-der", (body:gsub("%s", "")))
    end
    return text .. "\r\n"
end

-- The status and the headers of the answer, which ends the connection. One that is longer is no answer of the daemon.
local function ask(r)
    local socket = connect()
    if not socket then
        return nil
    end
    socket:send(request_for(r))
    local _, ending, answer = socket:receive(MAX_ANSWER)
    socket:close()
    local head = ending == "closed" and answer:match("^(.-\r\n)\r\n")
    local status = head and head:match("^HTTP/1%.1 (%d%d%d)")
    local headers = {}
    for name, value in (status and head or ""):gmatch("\n([^:\r\n]+):[ \t]*([^\r\n]-)[ \t]*\r") do
        headers[name:lower()] = value
    end
    return tonumber(status), headers
end

-- What the API gets of the client's headers.
local function clean(r)
    -- Those that name a caller, a certificate or an address, however they are spelled: programs read several spellings as one name.
    for name in pairs(r:headers_in_table()) do
        for _, pattern in ipairs(FORGED) do
            if name:lower():find(pattern) then
                r.headers_in[name] = nil
            end
        end
    end
    -- The proxy would remove the headers that it names.
    local connection = (r.headers_in["Connection"] or ""):lower()
    r.headers_in["Connection"] = connection:find("close", 1, true) and "close" or nil
    r.headers_in["Upgrade"] = nil
    -- The one that chose this policy.
    r.headers_in["Host"] = r.hostname
end

function keybound_verify(r)
    -- What follows on its connection would pass without a check.
    if r.method == "CONNECT" then
        return METHOD_NOT_ALLOWED
    end
    local ok, status, headers = pcall(ask, r)
    if not ok or not status then
        return UNAVAILABLE
    end
    -- Another server in the place of the daemon names no caller.
    if status == 200 and (headers["x-keybound-client"] or "") == "" then
        return UNAVAILABLE
    end
    clean(r)
    for _, name in ipairs(IDENTITY) do
        local value = headers[name]
        if status == 200 and value and value ~= "" then
            r.headers_in[name] = value
        end
    end
    if status == 200 then
        return apache2.OK
    end
    if headers["www-authenticate"] then
        r.err_headers_out["WWW-Authenticate"] = headers["www-authenticate"]
    end
    if headers["retry-after"] then
        r.err_headers_out["Retry-After"] = headers["retry-after"]
    end
    if status == 400 or status == 401 or status == 403 then
        return status
    end
    return UNAVAILABLE
end
