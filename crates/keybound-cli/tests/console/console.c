/* console.exe PROGRAM ARGUMENTS…: runs a program in a new console. A line on standard input presses Ctrl-C there. Exits with the
   status of the program. */
#include <windows.h>
#include <stdio.h>

#define NO_START 97
#define NO_CONSOLE 98
#define NO_END 99
#define MAX_END_MS 30000
#define MAX_ATTEMPTS 10

static BOOL WINAPI survive(DWORD event)
{
    (void)event;
    return TRUE;
}

/* The command line without the name of this program. */
static WCHAR *command_line(void)
{
    WCHAR *line = GetCommandLineW();
    WCHAR end = *line == L'"' ? L'"' : L' ';

    line++;
    while (*line && *line != end)
        line++;
    while (*line == L'"' || *line == L' ')
        line++;
    return line;
}

int main(void)
{
    SECURITY_ATTRIBUTES inherited = {sizeof(inherited), NULL, TRUE};
    STARTUPINFOW start = {.cb = sizeof(start), .dwFlags = STARTF_USESTDHANDLES};
    PROCESS_INFORMATION program;
    char line[16];
    DWORD status;

    start.hStdInput = CreateFileW(L"NUL", GENERIC_READ, FILE_SHARE_READ, &inherited, OPEN_EXISTING, 0, NULL);
    start.hStdOutput = GetStdHandle(STD_OUTPUT_HANDLE);
    start.hStdError = GetStdHandle(STD_ERROR_HANDLE);
    FreeConsole();
    /* Several at once: the process of a console may not be ready in time on a busy machine. */
    for (int attempt = 1; !AllocConsole(); attempt++) {
        if (attempt == MAX_ATTEMPTS)
            return NO_CONSOLE;
        Sleep(100);
    }
    if (!CreateProcessW(NULL, command_line(), NULL, NULL, TRUE, 0, NULL, NULL, &start, &program))
        return NO_START;
    SetConsoleCtrlHandler(survive, TRUE);
    if (fgets(line, sizeof(line), stdin) && !GenerateConsoleCtrlEvent(CTRL_C_EVENT, 0))
        return NO_CONSOLE;
    if (WaitForSingleObject(program.hProcess, MAX_END_MS) != WAIT_OBJECT_0) {
        TerminateProcess(program.hProcess, NO_END);
        return NO_END;
    }
    GetExitCodeProcess(program.hProcess, &status);
    return (int)status;
}
