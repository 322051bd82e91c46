/* Each process that opens the store of roots has Wine's crypt32 read the host's roots again, behind a semaphore that is not
   released where the process ends meanwhile: all later ones then wait for ever. This program has the roots read once and
   keeps the semaphore, released, so that others find them read. It says when that is so and ends with its standard input. */
#include <windows.h>
#include <stdio.h>
#include <wincrypt.h>

int main(void)
{
    HCERTSTORE roots = CertOpenSystemStoreW(0, L"ROOT");
    HANDLE semaphore = CreateSemaphoreW(NULL, 1, 1, L"crypt32_root_semaphore");

    if (!roots || !semaphore)
        return 1;
    puts("ready");
    fflush(stdout);
    while (getchar() != EOF)
        ;
    return 0;
}
