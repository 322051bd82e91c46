/* In each process that opens the root store, Wine's crypt32 reads the host's roots again, under a semaphore that is not released if
   the process exits meanwhile: all later processes then wait forever. This program reads the roots once and holds a handle of the
   released semaphore, which tells others that they are read. It prints a line when it is ready and exits when its standard input
   is closed. */
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
