/* Every Rust program for Windows imports ProcessPrng, which Wine 8 lacks. Implemented with Wine's own random number generator. */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(void *bytes, ULONG length);

__declspec(dllexport) BOOL WINAPI ProcessPrng(unsigned char *bytes, SIZE_T length)
{
    const SIZE_T maximum = 0x10000000;
    while (length > 0) {
        ULONG part = (ULONG)(length < maximum ? length : maximum);
        if (!SystemFunction036(bytes, part))
            return FALSE;
        bytes += part;
        length -= part;
    }
    return TRUE;
}
