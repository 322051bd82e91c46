/* A fake AttestationClientLib.dll: the same C interface, and each way in which it can fail. The client payload of the call
 * selects the action:
 *
 *   token              success                         starts        success; the token has the number of starts
 *   null empty blank   success, with such a token      outstanding   success; the token has the number of unfreed tokens
 *   huge binary word   the same                        overlapped    fails if calls ever overlapped
 *   code:N             fails with N, no token          arguments     logs its arguments
 *   poison:N           fails with N; the token points  secret        logs a JWT
 *                      to unreadable memory            storm:N       logs N lines
 *   hang               never returns                   late          logs from another thread after it returned
 *
 * A payload that is NULL or {} is treated as `arguments`.
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

static LogInformation callback;
static volatile LONG starts, outstanding, under_way, overlapped;
static void *poison;

static void log_line(int level, const char *message) {
    if (callback.log) callback.log(callback.context, "FakeLibrary", level, "log_line", __LINE__, message);
}

__declspec(dllexport) int InitAttestationLib(LogInformation *information) {
    InterlockedIncrement(&starts);
    callback = *information;
    log_line(2, "starting");
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

static void return_token(char **token, const char *text, size_t length) {
    char *copy = malloc(length + 1);
    memcpy(copy, text, length);
    copy[length] = 0;
    InterlockedIncrement(&outstanding);
    *token = copy;
}

static void return_number(char **token, LONG number) {
    char text[64];
    return_token(token, text, (size_t)sprintf(text, "eyJzdGFuZC1pbiI6MX0.%ld.c2ln", number));
}

static DWORD WINAPI log_late(void *unused) {
    (void)unused;
    Sleep(20);
    log_line(1, "late line");
    return 0;
}

static void log_arguments(const char *endpoint, const char *auth, const char *payload, size_t key, const char *client) {
    char text[2048];
    snprintf(text, sizeof text, "endpoint %s auth %s<%s> payload %s<%s> key %llx client %s", endpoint, auth ? "" : "NULL",
             auth ? auth : "", payload ? "" : "NULL", payload ? payload : "", (unsigned long long)key, client);
    log_line(0, text);
}

static int perform(const char *action, char **token) {
    LONG number;
    if (sscanf(action, "code:%ld", &number) == 1) return (int)number;
    if (sscanf(action, "poison:%ld", &number) == 1) {
        poison = VirtualAlloc(NULL, 4096, MEM_RESERVE | MEM_COMMIT, PAGE_NOACCESS);
        InterlockedIncrement(&outstanding);
        *token = poison;
        return (int)number;
    }
    if (sscanf(action, "storm:%ld", &number) == 1)
        while (number-- > 0) log_line(3, "storm line");
    if (!strcmp(action, "null")) return 0;
    if (!strcmp(action, "empty")) { return_token(token, "", 0); return 0; }
    if (!strcmp(action, "blank")) { return_token(token, " \r\n\t", 4); return 0; }
    if (!strcmp(action, "binary")) { return_token(token, "eyJ\xff\xfe.e30.c2ln", 13); return 0; }
    if (!strcmp(action, "word")) { return_token(token, "eyJnoDots", 9); return 0; }
    if (!strcmp(action, "huge")) {
        size_t length = 64 * 1024 * 1024;
        char *text = malloc(length);
        memset(text, 'a', length);
        return_token(token, text, length);
        free(text);
        return 0;
    }
    if (!strcmp(action, "starts")) { return_number(token, starts); return 0; }
    if (!strcmp(action, "outstanding")) { return_number(token, outstanding); return 0; }
    if (!strcmp(action, "overlapped")) { Sleep(5); if (overlapped) return -34; }
    if (!strcmp(action, "hang")) { log_line(1, "hanging"); Sleep(INFINITE); }
    if (!strcmp(action, "late")) CloseHandle(CreateThread(NULL, 0, log_late, NULL, 0, NULL));
    if (!strcmp(action, "secret"))
        log_line(0, "MAA said eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJtYWEifQ.c2lnbmF0dXJl and \x1b[2J");
    return_token(token, "eyJhbGciOiJub25lIn0.e30.c2ln", 28);
    return 0;
}

__declspec(dllexport) int AttestKeyGuardImportKey(const char *endpoint, const char *auth, const char *payload, size_t key,
                                                  char **token, const char *client) {
    int code;
    if (InterlockedIncrement(&under_way) > 1) overlapped = 1;
    if (!payload || !strcmp(payload, "{}") || !strcmp(payload, "arguments"))
        log_arguments(endpoint, auth, payload, key, client);
    code = perform(payload ? payload : "", token);
    InterlockedDecrement(&under_way);
    return code;
}
