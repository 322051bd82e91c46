-- For HAProxy 2.6 or later. Printed by `keybound verify config haproxy --script`.
-- Requests the decision of the daemon, and puts its answer into variables: the status, the challenge, and who called.

local IDENTITY = { @IDENTITY@ }

local function first(headers, name)
    local values = headers and headers[name]
    return values and (values[0] or values[1])
end

core.register_action("keybound_verify", { "http-req" }, function(txn, daemon)
    local authorization = {}
    local received = txn.http:req_get_headers()["authorization"]
    -- All of them: the daemon refuses several. Lua in HAProxy counts from 0.
    local index = 0
    while received and received[index] do
        table.insert(authorization, received[index])
        index = index + 1
    end
    local headers = {
        ["host"] = { "keybound" },
        ["x-forwarded-host"] = { txn:get_var("txn.keybound_host") },
        ["x-forwarded-method"] = { txn.f:method() },
        ["x-forwarded-uri"] = { txn.f:pathq() },
    }
    if #authorization > 0 then
        headers["authorization"] = authorization
    end
    local certificate = txn:get_var("txn.keybound_certificate")
    if certificate then
        headers["x-ssl-client-der"] = { certificate }
    end
    -- Longer than the daemon waits for keys. HAProxy tries four times.
    local answer = core.httpclient():get { url = "http://keybound/", headers = headers, dst = daemon, timeout = 1500 }
    txn:set_var("txn.keybound_status", answer and answer.status or 503)
    local challenge = answer and first(answer.headers, "www-authenticate")
    if challenge then
        txn:set_var("txn.keybound_challenge", challenge)
    end
    local retry = answer and first(answer.headers, "retry-after")
    if retry then
        txn:set_var("txn.keybound_retry", retry)
    end
    for _, name in ipairs(IDENTITY) do
        local value = answer and first(answer.headers, name)
        if value and value ~= "" then
            local variable = name:gsub("^x%-", ""):gsub("%-", "_")
            txn:set_var("txn." .. variable, value)
        end
    end
end, 1)
