<#
.SYNOPSIS
    Gets a bound token for this host's managed identity and calls a resource with it.

.DESCRIPTION
    The parameters of the PowerShell system for managed identity v2, on top of the keybound program: key, certificate
    signing request, attestation, credential, token over mutual TLS, binding check, and the call of the resource over
    mutual TLS. The program is looked for beside this script, then among the applications of PATH; never in the working
    folder. Exits with 0, or with 1 on any error.

    UNTESTED: PowerShell is not to be had on Debian, where this project's checks run, so nothing but the names of the
    program's options in this script is checked there. Please report what does not work.

.PARAMETER Scope
    What the token is for. Without quotation marks and white space, which Windows PowerShell 5.1 does not escape for programs.

.PARAMETER ResourceUrl
    What is called with the token. Without quotation marks and white space, as Scope.

.PARAMETER VerboseLogging
    Tells each step with its time, and the decoded claims. On by default; -VerboseLogging:$false switches it off.

.PARAMETER ShowFullToken
    Prints the token whole. Off by default: the token is then abbreviated.

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
    # On Windows other endings of PATHEXT, such as .cmd, run in a shell, which reads the arguments again.
    $onWindows = [System.Environment]::OSVersion.Platform -eq [System.PlatformID]::Win32NT
    $name = if ($onWindows) { 'keybound.exe' } else { 'keybound' }
    $beside = Join-Path -Path $PSScriptRoot -ChildPath $name
    if (Test-Path -LiteralPath $beside -PathType Leaf) {
        return $beside
    }
    $found = Get-Command -Name $name -CommandType Application -ErrorAction SilentlyContinue |
        Select-Object -First 1
    if ($null -eq $found) {
        throw 'keybound was found neither beside this script nor among the applications of PATH'
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
    # What follows -- is no option, whatever it begins with.
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
