/* Stands for AttestationClientLib.dll: the same C interface, and each way in which it can fail. What it does is said by
 * the client payload of the call:
 *
 *   token              success                         starts        success; the token says how often it was started
 *   null empty blank   success, with that for a token  outstanding   success; the token says how many were not freed
 *   huge binary word   the same                        overlapped    fails if two calls ever were under way at once
 *   code:N             fails with N, no token          arguments     logs what it was given
 *   poison:N           fails with N; the token points  secret        logs a JWT
 *                      to what cannot be read          storm:N       logs N lines
 *   hang               never returns                   late          logs from a thread of its own, after it returned
 *
 * Where the payload is NULL or {}, it does as for `arguments`.
 */
#include <windows.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef START_CODE
#define START_CODE 0
#endif

typedef void (*LogFunction)(void *, const char *, int, const char *, int, const char *);
typedef struct { LogFunction log; void *context; } LogInformation;

static LogInformation listener;
static volatile LONG starts, outstanding, under_way, overlapped;
static void *poison;

static void tell(int level, const char *message) {
    if (listener.log) listener.log(listener.context, "StandIn", level, "tell", __LINE__, message);
}

__declspec(dllexport) int InitAttestationLib(LogInformation *information) {
    InterlockedIncrement(&starts);
    listener = *information;
    tell(2, "starting");
#ifdef HANGS
    Sleep(INFINITE);
#endif
    return START_CODE;
}

__declspec(dllexport) void UninitAttestationLib(void) { abort(); }

#ifndef WITHOUT_FREE
__declspec(dllexport) void FreeAttestationToken(char *token) {
    InterlockedDecrement(&outstanding);
    if (token == poison) poison = NULL;
    else free(token);
}
#endif

static void give(char **token, const char *text, size_t length) {
    char *copy = malloc(length + 1);
    memcpy(copy, text, length);
    copy[length] = 0;
    InterlockedIncrement(&outstanding);
    *token = copy;
}

static void give_number(char **token, LONG number) {
    char text[64];
    give(token, text, (size_t)sprintf(text, "eyJzdGFuZC1pbiI6MX0.%ld.c2ln", number));
}

static DWORD WINAPI tell_late(void *unused) {
    (void)unused;
    Sleep(20);
    tell(1, "late line");
    return 0;
}

static void tell_arguments(const char *endpoint, const char *auth, const char *payload, size_t key, const char *client) {
    char text[2048];
    snprintf(text, sizeof text, "endpoint %s auth %s<%s> payload %s<%s> key %llx client %s", endpoint, auth ? "" : "NULL",
             auth ? auth : "", payload ? "" : "NULL", payload ? payload : "", (unsigned long long)key, client);
    tell(0, text);
}

static int answer(const char *does, char **token) {
    LONG number;
    if (sscanf(does, "code:%ld", &number) == 1) return (int)number;
    if (sscanf(does, "poison:%ld", &number) == 1) {
        poison = VirtualAlloc(NULL, 4096, MEM_RESERVE | MEM_COMMIT, PAGE_NOACCESS);
        InterlockedIncrement(&outstanding);
        *token = poison;
        return (int)number;
    }
    if (sscanf(does, "storm:%ld", &number) == 1)
        while (number-- > 0) tell(3, "storm line");
    if (!strcmp(does, "null")) return 0;
    if (!strcmp(does, "empty")) { give(token, "", 0); return 0; }
    if (!strcmp(does, "blank")) { give(token, " \r\n\t", 4); return 0; }
    if (!strcmp(does, "binary")) { give(token, "eyJ\xff\xfe.e30.c2ln", 13); return 0; }
    if (!strcmp(does, "word")) { give(token, "eyJnoDots", 9); return 0; }
    if (!strcmp(does, "huge")) {
        size_t length = 64 * 1024 * 1024;
        char *text = malloc(length);
        memset(text, 'a', length);
        give(token, text, length);
        free(text);
        return 0;
    }
    if (!strcmp(does, "starts")) { give_number(token, starts); return 0; }
    if (!strcmp(does, "outstanding")) { give_number(token, outstanding); return 0; }
    if (!strcmp(does, "overlapped")) { Sleep(5); if (overlapped) return -34; }
    if (!strcmp(does, "hang")) { tell(1, "hanging"); Sleep(INFINITE); }
    if (!strcmp(does, "late")) CloseHandle(CreateThread(NULL, 0, tell_late, NULL, 0, NULL));
    if (!strcmp(does, "secret"))
        tell(0, "MAA said eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJtYWEifQ.c2lnbmF0dXJl and \x1b[2J");
    give(token, "eyJhbGciOiJub25lIn0.e30.c2ln", 28);
    return 0;
}

__declspec(dllexport) int AttestKeyGuardImportKey(const char *endpoint, const char *auth, const char *payload, size_t key,
                                                  char **token, const char *client) {
    int code;
    if (InterlockedIncrement(&under_way) > 1) overlapped = 1;
    if (!payload || !strcmp(payload, "{}") || !strcmp(payload, "arguments"))
        tell_arguments(endpoint, auth, payload, key, client);
    code = answer(payload ? payload : "", token);
    InterlockedDecrement(&under_way);
    return code;
}
