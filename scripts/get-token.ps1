<#
.SYNOPSIS
    Gets a bound token for this host's managed identity and calls a resource with it.

.DESCRIPTION
    Wraps `keybound call`: key, certificate signing request, attestation, credential, token over mutual TLS, binding
    check, and the call of the resource over mutual TLS. The program is searched beside this script, then among the
    applications of PATH; never in the working folder. Exits with 0, or with 1 on any error.

    UNTESTED: Debian, on which this project's checks run, has no package of PowerShell, so that the checks only cover
    the names of the program's options in this script. Please report what does not work.

.PARAMETER Scope
    The scope of the token. It must not contain quotation marks or white space, which Windows PowerShell 5.1 does not escape.

.PARAMETER ResourceUrl
    The URL that is called with the token. It must not contain quotation marks or white space either.

.PARAMETER VerboseLogging
    Logs each step with its time, and the decoded claims. On by default; -VerboseLogging:$false disables it.

.PARAMETER ShowFullToken
    Prints the full token. By default the token is abbreviated.

.PARAMETER Simulated
    Uses the emulator's key and attestation. Only under `keybound emulator --exec`.

.EXAMPLE
    .\get-token.ps1

.EXAMPLE
    .\get-token.ps1 -Scope 'https://vault.azure.net/.default' `
        -ResourceUrl 'https://my-vault.vault.azure.net/secrets/db?api-version=7.4'

.EXAMPLE
    .\get-token.ps1 -VerboseLogging:$false -ShowFullToken
#>
#Requires -Version 5.1
[CmdletBinding()]
param(
    [ValidatePattern('^[^"\s]+\z')]
    [string] $Scope = 'https://graph.microsoft.com/.default',

    [ValidatePattern('^[^"\s]+\z')]
    [string] $ResourceUrl = 'https://mtlstb.graph.microsoft.com/v1.0/applications?$top=5',

    [switch] $VerboseLogging = $true,

    [switch] $ShowFullToken,

    [switch] $Simulated
)

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

function Find-Keybound {
    # On Windows, other extensions of PATHEXT, such as .cmd, run in a shell, which parses the arguments again.
    $onWindows = [System.Environment]::OSVersion.Platform -eq [System.PlatformID]::Win32NT
    $name = if ($onWindows) { 'keybound.exe' } else { 'keybound' }
    $beside = Join-Path -Path $PSScriptRoot -ChildPath $name
    if (Test-Path -LiteralPath $beside -PathType Leaf) {
        return $beside
    }
    $found = Get-Command -Name $name -CommandType Application -ErrorAction SilentlyContinue |
        Select-Object -First 1
    if ($null -eq $found) {
        throw 'keybound was not found, neither beside this script nor among the applications of PATH'
    }
    return $found.Path
}

try {
    $keybound = Find-Keybound
    $arguments = @('call', '--scope', $Scope)
    if ($VerboseLogging) {
        $arguments += '--verbose'
    }
    if ($ShowFullToken) {
        $arguments += '--show-full-token'
    }
    if ($Simulated) {
        $arguments += '--simulated'
    }
    # After -- nothing is parsed as an option.
    $arguments += @('--', $ResourceUrl)
    & $keybound @arguments
    if ($LASTEXITCODE -ne 0) {
        exit 1
    }
}
catch {
    [Console]::Error.WriteLine("error: $($_.Exception.Message)")
    exit 1
}
exit 0
