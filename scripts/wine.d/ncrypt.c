/* Wine 8 creates CNG keys and signs with them, but opens none by name. This ncrypt.dll is a shim before Wine's, which is renamed to
   ncrypt_wine.dll: named keys can be opened within the process that created them, and the host has neither KeyGuard nor a TPM. All
   other functions are Wine's. It tests the sequence of calls, and nothing about Windows. */
#include <windows.h>
#include <bcrypt.h>
#include <ncrypt.h>
#include <stdlib.h>
#include <wchar.h>

#define VIRTUAL_ISOLATION 0x00020000
#define NO_KEYGUARD ((SECURITY_STATUS)0x80890014)
#define MAX_NAME 260

/* A named key. All callers that open it share Wine's one handle. */
struct named {
    struct named *next;
    NCRYPT_KEY_HANDLE key;
    unsigned open_count;
    BOOL overwrites;
    BOOL finalized;
    WCHAR name[MAX_NAME + 1];
};

static SRWLOCK lock = SRWLOCK_INIT;
static struct named *all;

static void *wine(const char *function)
{
    static HMODULE library;
    if (!library)
        library = LoadLibraryW(L"ncrypt_wine.dll");
    return (void *)GetProcAddress(library, function);
}

#define WINE(function) ((__typeof__(&function))wine(#function))

static struct named *by_name(const WCHAR *name)
{
    struct named *one = all;
    while (one && !(one->finalized && !wcscmp(one->name, name)))
        one = one->next;
    return one;
}

static struct named *by_handle(NCRYPT_HANDLE key)
{
    struct named *one = all;
    while (one && one->key != key)
        one = one->next;
    return one;
}

static void remove_key(struct named *key)
{
    struct named **link = &all;
    while (*link != key)
        link = &(*link)->next;
    *link = key->next;
    free(key);
}

static SECURITY_STATUS open_provider(NCRYPT_PROV_HANDLE *provider, const WCHAR *name, DWORD flags)
{
    if (name && !wcscmp(name, MS_PLATFORM_CRYPTO_PROVIDER))
        return NTE_DEVICE_NOT_READY;
    return WINE(NCryptOpenStorageProvider)(provider, name, flags);
}

static SECURITY_STATUS open_key(NCRYPT_KEY_HANDLE *key, const WCHAR *name)
{
    struct named *found = by_name(name);
    if (!found)
        return NTE_BAD_KEYSET;
    found->open_count++;
    *key = found->key;
    return ERROR_SUCCESS;
}

static SECURITY_STATUS create_key(NCRYPT_PROV_HANDLE provider, NCRYPT_KEY_HANDLE *key, const WCHAR *algorithm,
                                  const WCHAR *name, DWORD use, DWORD flags)
{
    SECURITY_STATUS status;
    struct named *entry;

    if (flags & VIRTUAL_ISOLATION)
        return NO_KEYGUARD;
    if (!name)
        return WINE(NCryptCreatePersistedKey)(provider, key, algorithm, name, use, flags);
    if (wcslen(name) > MAX_NAME)
        return NTE_INVALID_PARAMETER;
    if (by_name(name) && !(flags & NCRYPT_OVERWRITE_KEY_FLAG))
        return NTE_EXISTS;
    entry = calloc(1, sizeof(*entry));
    if (!entry)
        return NTE_NO_MEMORY;
    status = WINE(NCryptCreatePersistedKey)(provider, key, algorithm, name, use, flags);
    if (status != ERROR_SUCCESS) {
        free(entry);
        return status;
    }
    wcscpy(entry->name, name);
    entry->key = *key;
    entry->open_count = 1;
    entry->overwrites = (flags & NCRYPT_OVERWRITE_KEY_FLAG) != 0;
    entry->next = all;
    all = entry;
    return status;
}

/* Removes a key without a name after its last handle was freed; a named key stays, as on Windows. */
static BOOL remove_if_unused(struct named *key)
{
    if (key->open_count > 0 || key->finalized)
        return FALSE;
    remove_key(key);
    return TRUE;
}

static void unname(struct named *key)
{
    NCRYPT_KEY_HANDLE handle = key->key;
    key->finalized = FALSE;
    if (remove_if_unused(key))
        WINE(NCryptFreeObject)(handle);
}

/* The key gets its name only here: of two that are created at once, the first one to be finalized. */
static SECURITY_STATUS finalize_key(NCRYPT_KEY_HANDLE key, DWORD flags)
{
    struct named *entry = by_handle(key);
    struct named *old = entry ? by_name(entry->name) : NULL;
    SECURITY_STATUS status;

    if (old && !entry->overwrites)
        return NTE_EXISTS;
    status = WINE(NCryptFinalizeKey)(key, flags);
    if (status != ERROR_SUCCESS || !entry)
        return status;
    if (old)
        unname(old);
    entry->finalized = TRUE;
    return status;
}

static SECURITY_STATUS free_object(NCRYPT_HANDLE object)
{
    struct named *key = by_handle(object);
    if (key) {
        if (key->open_count == 0)
            return NTE_INVALID_HANDLE;
        key->open_count--;
        if (!remove_if_unused(key))
            return ERROR_SUCCESS;
    }
    return WINE(NCryptFreeObject)(object);
}

static SECURITY_STATUS delete_key(NCRYPT_KEY_HANDLE handle)
{
    struct named *key = by_handle(handle);
    if (key)
        key->finalized = FALSE;
    return free_object(handle);
}

#define LOCKED(call)                    \
    SECURITY_STATUS status;             \
    AcquireSRWLockExclusive(&lock);     \
    status = call;                      \
    ReleaseSRWLockExclusive(&lock);     \
    return status

SECURITY_STATUS WINAPI ShimOpenStorageProvider(NCRYPT_PROV_HANDLE *provider, LPCWSTR name, DWORD flags)
{
    LOCKED(open_provider(provider, name, flags));
}

SECURITY_STATUS WINAPI ShimOpenKey(NCRYPT_PROV_HANDLE provider, NCRYPT_KEY_HANDLE *key, LPCWSTR name, DWORD use, DWORD flags)
{
    (void)provider, (void)use, (void)flags;
    LOCKED(open_key(key, name));
}

SECURITY_STATUS WINAPI ShimCreatePersistedKey(NCRYPT_PROV_HANDLE provider, NCRYPT_KEY_HANDLE *key, LPCWSTR algorithm,
                                                 LPCWSTR name, DWORD use, DWORD flags)
{
    LOCKED(create_key(provider, key, algorithm, name, use, flags));
}

SECURITY_STATUS WINAPI ShimFinalizeKey(NCRYPT_KEY_HANDLE key, DWORD flags)
{
    LOCKED(finalize_key(key, flags));
}

/* Wine's keys store the padding of the last signature, so signatures are serialized. */
SECURITY_STATUS WINAPI ShimSignHash(NCRYPT_KEY_HANDLE key, VOID *padding, PBYTE hash, DWORD hash_length, PBYTE signature,
                                       DWORD length, DWORD *written, DWORD flags)
{
    LOCKED(WINE(NCryptSignHash)(key, padding, hash, hash_length, signature, length, written, flags));
}

SECURITY_STATUS WINAPI ShimDeleteKey(NCRYPT_KEY_HANDLE key, DWORD flags)
{
    (void)flags;
    LOCKED(delete_key(key));
}

SECURITY_STATUS WINAPI ShimFreeObject(NCRYPT_HANDLE object)
{
    LOCKED(free_object(object));
}
