//! The requests. `@HOST@` is the API that the client may call, `@OTHER@` one that refuses it.

/// One that tries nothing.
pub const PLAIN: &str =
    "GET /end HTTP/1.1\r\nHost: @HOST@\r\nAuthorization: @AUTHORIZATION@\r\n\r\n";

/// Requests that are served; the token is added.
pub const SERVED: &[&str] = &[
    // The names in these lists are removed before a request is passed on.
    "GET /end HTTP/1.1\r\nHost: @HOST@\r\nConnection: X-Keybound-Client\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost: @HOST@\r\nConnection: close, x-keybound-client, X-Keybound-Roles\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost: @HOST@\r\nConnection: keep-alive\r\nConnection: X-Keybound-Tenant\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost: @HOST@\r\nConnection: TE, X-Keybound-Object\r\nTE: trailers\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost: @HOST@\r\nProxy-Connection: X-Keybound-Client\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost: @HOST@\r\nKeep-Alive: X-Keybound-Client\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost: @HOST@\r\nTE: X-Keybound-Client\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost: @HOST@\r\nX-Forwarded-Host: @OTHER@\r\nForwarded: host=@OTHER@\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost: @HOST@:8443\r\n\r\n",
    "GET /a/%2F..%2fend?x=/../y HTTP/1.1\r\nHost: @HOST@\r\n\r\n",
    "GET /a//b;c/%41%20end HTTP/1.1\r\nHost: @HOST@\r\n\r\n",
    "POST /end HTTP/1.1\r\nHost: @HOST@\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-Keybound-Client: spoofed\r\n\r\n",
    "POST /end HTTP/1.1\r\nHost: @HOST@\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab",
];

/// Requests that are refused: what follows on their connections would pass without a check, or the response contains the token.
pub const REFUSED: &[&str] = &[
    "CONNECT @HOST@:443 HTTP/1.1\r\nHost: @HOST@\r\n\r\n",
    "CONNECT /end HTTP/1.1\r\nHost: @HOST@\r\n\r\n",
    "TRACE /end HTTP/1.1\r\nHost: @HOST@\r\n\r\n",
];

/// Requests that a proxy may also refuse.
pub const REFUSED_OR_SERVED: &[&str] = &[
    "GET /end HTTP/1.1\r\nHost: @HOST@\r\nConnection: Authorization\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost: @HOST@\r\nConnection: Host, X-SSL-Client-DER, X-Forwarded-Client-Cert\r\n\r\n",
    // Programs read these spellings as one name.
    "GET /end HTTP/1.1\r\nHost: @HOST@\r\nX_Keybound_Roles: spoofed\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost: @HOST@\r\nx-keybound_client: spoofed\r\nx_keybound-client: spoofed\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost: @HOST@\r\nX.Keybound.Client: spoofed\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost: @HOST@\r\nX-Keybound-Identity_Type: spoofed\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost: @HOST@\r\nX-Keybound-Client : spoofed\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost: @HOST@\r\nX-Other: a\r\n X-Keybound-Client: spoofed\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost: @HOST@\r\nX-Other: a\rX-Keybound-Client: spoofed\r\n\r\n",
    // Another host than that of the policy.
    "GET /end HTTP/1.1\r\nHost: @HOST@, @OTHER@\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost: @OTHER@, @HOST@\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost: @HOST@\r\nHost: @OTHER@\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost: @OTHER@\r\nHost: @HOST@\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost: @HOST@\r\nHost: @HOST@\r\n\r\n",
    "GET http://@HOST@/end HTTP/1.1\r\nHost: @OTHER@\r\n\r\n",
    "GET https://@OTHER@/end HTTP/1.1\r\nHost: @HOST@\r\n\r\n",
    "GET https://@HOST@/end HTTP/1.1\r\nHost: @HOST@\r\n\r\n",
    "GET https://@HOST@:8443/end HTTP/1.1\r\nHost: @HOST@\r\n\r\n",
    "GET https://x@@HOST@/end HTTP/1.1\r\nHost: @HOST@\r\n\r\n",
    "GET https://@HOST@@@OTHER@/end HTTP/1.1\r\nHost: @HOST@\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost: @HOST@.\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost: @HOST@:x\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost: @HOST@:80:@OTHER@\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost: @HOST@@@OTHER@\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost: @OTHER@@@HOST@\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost: @HOST@/@OTHER@\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost: @HOST@#@OTHER@\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost: @HOST@ @OTHER@\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost: @OTHER@\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost:\r\n\r\n",
    "GET /end HTTP/1.0\r\nX-Other: @OTHER@\r\n\r\n",
    // Paths that programs change.
    "GET /a/../end HTTP/1.1\r\nHost: @HOST@\r\n\r\n",
    "GET /a/%2e%2e/./end HTTP/1.1\r\nHost: @HOST@\r\n\r\n",
    "GET //end HTTP/1.1\r\nHost: @HOST@\r\n\r\n",
    "GET /a\\end HTTP/1.1\r\nHost: @HOST@\r\n\r\n",
    "GET /a%00end HTTP/1.1\r\nHost: @HOST@\r\n\r\n",
    "GET /end#b HTTP/1.1\r\nHost: @HOST@\r\n\r\n",
    "GET end HTTP/1.1\r\nHost: @HOST@\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: @HOST@\r\n\r\n",
    "get /end HTTP/1.1\r\nHost: @HOST@\r\n\r\n",
    // What follows on an upgraded connection is not a request.
    "GET /end HTTP/1.1\r\nHost: @HOST@\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost: @HOST@\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost: @HOST@\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost: @HOST@\r\nExpect: 200-ok\r\n\r\n",
    // Where one request ends is ambiguous.
    "POST /end HTTP/1.1\r\nHost: @HOST@\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: @HOST@\r\n\r\n",
    "POST /end HTTP/1.1\r\nHost: @HOST@\r\nContent-Length: 37\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /end HTTP/1.1\r\nHost: @HOST@\r\nTransfer-Encoding: xchunked\r\nContent-Length: 37\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /end HTTP/1.1\r\nHost: @HOST@\r\nTransfer-Encoding : chunked\r\nContent-Length: 37\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /end HTTP/1.1\r\nHost: @HOST@\r\nTransfer-Encoding: chunked, identity\r\nContent-Length: 37\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /end HTTP/1.1\r\nHost: @HOST@\r\nTransfer_Encoding: chunked\r\nContent-Length: 37\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /end HTTP/1.1\r\nHost: @HOST@\r\nContent-Length: 0\r\nContent-Length: 32\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /end HTTP/1.1\r\nHost: @HOST@\r\nContent-Length: +32\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /end HTTP/1.1\r\nHost: @HOST@\r\nConnection: Content-Length\r\nContent-Length: 32\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /end HTTP/1.1\r\nHost: @HOST@\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n20\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n\r\n0\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost: @HOST@\r\nContent-Length: 32\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /end HTTP/1.1\r\nHost: @HOST@\r\n\r\nGET /hidden HTTP/1.1\r\nHost: @HOST@\r\n\r\n",
];

/// The authority, the header `Host`, and the name of a trailer.
pub const HTTP_2_REQUESTS: &[(&str, &str, &str)] = &[
    ("@HOST@", "", ""),
    ("@HOST@", "@HOST@", ""),
    ("@HOST@", "@OTHER@", ""),
    ("@OTHER@", "@HOST@", ""),
    ("@HOST@", "", "x-keybound-client"),
    ("@HOST@", "", "x_keybound_client"),
    ("@HOST@:8443", "", ""),
];
