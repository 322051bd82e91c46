// The verification of a bound token by nginx alone: signature, issuer, audience, dates and the binding to the client certificate.
const crypto_module = require('crypto');

async function check(request) {
    try {
        const form = /^mtls_pop ([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)$/i;
        const parts = form.exec(request.variables.http_authorization || '');
        const header = JSON.parse(Buffer.from(parts[1], 'base64url'));
        const claims = JSON.parse(Buffer.from(parts[2], 'base64url'));
        const now = Date.now() / 1000;
        require_that(header.alg == 'RS256' && !header.crit);
        const algorithm = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
        const key = await crypto.subtle.importKey('spki', Buffer.from('@KEY@', 'base64'), algorithm, false, ['verify']);
        const signed = parts[1] + '.' + parts[2];
        // njs 0.7.9 crashes at an await within the arguments of a call.
        const verified = await crypto.subtle.verify(algorithm, key, Buffer.from(parts[3], 'base64url'), signed);
        require_that(verified);
        require_that(claims.aud == '@AUDIENCE@');
        require_that(claims.iss == 'https://login.microsoftonline.com/@TENANT@/v2.0');
        require_that(now < claims.exp + 300 && now >= claims.nbf - 300);
        require_that(claims.cnf['x5t#S256'] === thumbprint(request.variables.ssl_client_raw_cert));
        request.return(204);
    } catch (error) {
        request.return(401);
    }
}

function require_that(condition) {
    if (!condition) throw new Error('refused');
}

function thumbprint(pem) {
    const base64 = pem.replace(/-----[A-Z ]+-----/g, '').replace(/\s/g, '');
    return crypto_module.createHash('sha256').update(Buffer.from(base64, 'base64')).digest('base64url');
}

export default { check };
