/* Wine 8 makes CNG keys and signs with them, but opens none by name. This ncrypt.dll stands before Wine's, which is there as
   ncrypt_wine.dll: named keys open within the process that made them, and the host has neither KeyGuard nor a TPM. All else
   is Wine's. It proves that our calls go together, and nothing about Windows. */
#include <windows.h>
#include <bcrypt.h>
#include <ncrypt.h>
#include <stdlib.h>
#include <wchar.h>

#define VIRTUAL_ISOLATION 0x00020000
#define NO_KEYGUARD ((SECURITY_STATUS)0x80890014)
#define LONGEST_NAME 260

/* A key with a name. Each caller that opens it borrows Wine's one handle. */
struct named {
    struct named *next;
    NCRYPT_KEY_HANDLE key;
    unsigned lent;
    BOOL overwrites;
    BOOL finalized;
    WCHAR name[LONGEST_NAME + 1];
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

static void forget(struct named *gone)
{
    struct named **link = &all;
    while (*link != gone)
        link = &(*link)->next;
    *link = gone->next;
    free(gone);
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
    found->lent++;
    *key = found->key;
    return ERROR_SUCCESS;
}

static SECURITY_STATUS create_key(NCRYPT_PROV_HANDLE provider, NCRYPT_KEY_HANDLE *key, const WCHAR *algorithm,
                                  const WCHAR *name, DWORD use, DWORD flags)
{
    SECURITY_STATUS status;
    struct named *made;

    if (flags & VIRTUAL_ISOLATION)
        return NO_KEYGUARD;
    if (!name)
        return WINE(NCryptCreatePersistedKey)(provider, key, algorithm, name, use, flags);
    if (wcslen(name) > LONGEST_NAME)
        return NTE_INVALID_PARAMETER;
    if (by_name(name) && !(flags & NCRYPT_OVERWRITE_KEY_FLAG))
        return NTE_EXISTS;
    made = calloc(1, sizeof(*made));
    if (!made)
        return NTE_NO_MEMORY;
    status = WINE(NCryptCreatePersistedKey)(provider, key, algorithm, name, use, flags);
    if (status != ERROR_SUCCESS) {
        free(made);
        return status;
    }
    wcscpy(made->name, name);
    made->key = *key;
    made->lent = 1;
    made->overwrites = (flags & NCRYPT_OVERWRITE_KEY_FLAG) != 0;
    made->next = all;
    all = made;
    return status;
}

/* Whether this was the last handle of a key without a name; one that has its name stays, as it does in Windows. */
static BOOL is_over(struct named *key)
{
    if (key->lent > 0 || key->finalized)
        return FALSE;
    forget(key);
    return TRUE;
}

static void take_name(struct named *key)
{
    NCRYPT_KEY_HANDLE handle = key->key;
    key->finalized = FALSE;
    if (is_over(key))
        WINE(NCryptFreeObject)(handle);
}

/* Only now has the key its name: of two that are made at once, the first one to get here. */
static SECURITY_STATUS finalize_key(NCRYPT_KEY_HANDLE key, DWORD flags)
{
    struct named *made = by_handle(key);
    struct named *old = made ? by_name(made->name) : NULL;
    SECURITY_STATUS status;

    if (old && !made->overwrites)
        return NTE_EXISTS;
    status = WINE(NCryptFinalizeKey)(key, flags);
    if (status != ERROR_SUCCESS || !made)
        return status;
    if (old)
        take_name(old);
    made->finalized = TRUE;
    return status;
}

static SECURITY_STATUS free_object(NCRYPT_HANDLE object)
{
    struct named *key = by_handle(object);
    if (key) {
        if (key->lent == 0)
            return NTE_INVALID_HANDLE;
        key->lent--;
        if (!is_over(key))
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

SECURITY_STATUS WINAPI StandInOpenStorageProvider(NCRYPT_PROV_HANDLE *provider, LPCWSTR name, DWORD flags)
{
    LOCKED(open_provider(provider, name, flags));
}

SECURITY_STATUS WINAPI StandInOpenKey(NCRYPT_PROV_HANDLE provider, NCRYPT_KEY_HANDLE *key, LPCWSTR name, DWORD use, DWORD flags)
{
    (void)provider, (void)use, (void)flags;
    LOCKED(open_key(key, name));
}

SECURITY_STATUS WINAPI StandInCreatePersistedKey(NCRYPT_PROV_HANDLE provider, NCRYPT_KEY_HANDLE *key, LPCWSTR algorithm,
                                                 LPCWSTR name, DWORD use, DWORD flags)
{
    LOCKED(create_key(provider, key, algorithm, name, use, flags));
}

SECURITY_STATUS WINAPI StandInFinalizeKey(NCRYPT_KEY_HANDLE key, DWORD flags)
{
    LOCKED(finalize_key(key, flags));
}

/* Wine's keys store the padding of the last signature: one at a time. */
SECURITY_STATUS WINAPI StandInSignHash(NCRYPT_KEY_HANDLE key, VOID *padding, PBYTE hash, DWORD hash_length, PBYTE signature,
                                       DWORD length, DWORD *written, DWORD flags)
{
    LOCKED(WINE(NCryptSignHash)(key, padding, hash, hash_length, signature, length, written, flags));
}

SECURITY_STATUS WINAPI StandInDeleteKey(NCRYPT_KEY_HANDLE key, DWORD flags)
{
    (void)flags;
    LOCKED(delete_key(key));
}

SECURITY_STATUS WINAPI StandInFreeObject(NCRYPT_HANDLE object)
{
    LOCKED(free_object(object));
}
