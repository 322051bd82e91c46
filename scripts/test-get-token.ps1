<#
.SYNOPSIS
    Tests get-token.ps1 against the emulator, in the PowerShell that runs this script.

.DESCRIPTION
    Start it under the emulator, with the keybound program on PATH:

        keybound emulator --exec -- powershell -NoProfile -ExecutionPolicy Bypass -File scripts\test-get-token.ps1
        keybound emulator --exec -- pwsh -NoProfile -File scripts/test-get-token.ps1

    Exits with 0 if all checks pass, else with 1.
#>
#Requires -Version 5.1
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

$script = Join-Path -Path $PSScriptRoot -ChildPath 'get-token.ps1'
$vault = @{ Scope = 'https://vault.azure.net/.default'; Simulated = $true }

function Invoke-Script([hashtable] $parameters) {
    # Not with `2>&1`: Windows PowerShell 5.1 turns lines of standard error into errors there.
    $output = & $script @parameters | Out-String
    return @{ Output = $output; Status = $LASTEXITCODE }
}

function Assert-That([bool] $condition, [string] $what) {
    if (-not $condition) {
        throw $what
    }
    Write-Host "ok: $what"
}

try {
    Write-Host "PowerShell $($PSVersionTable.PSVersion)"
    if (-not $env:KEYBOUND_EMULATOR_VAULT) {
        throw 'KEYBOUND_EMULATOR_VAULT is not set: run this script under keybound emulator --exec'
    }

    $errors = $null
    $tokens = $null
    [void] [System.Management.Automation.Language.Parser]::ParseFile($script, [ref] $tokens, [ref] $errors)
    Assert-That ($errors.Count -eq 0) "get-token.ps1 parses $errors"

    $secret = "$env:KEYBOUND_EMULATOR_VAULT/secrets/demo-secret?api-version=7.4"
    $run = Invoke-Script ($vault + @{ ResourceUrl = $secret })
    Assert-That ($run.Status -eq 0) 'a secret is read with exit code 0'
    Assert-That ($run.Output -match 'only the holder of the key reads this') 'the secret is printed'
    Assert-That ($run.Output -notmatch 'eyJ[\w-]+\.eyJ[\w-]+\.[\w-]{20,}') 'the token is abbreviated'

    $run = Invoke-Script ($vault + @{ ResourceUrl = $secret; VerboseLogging = $false; ShowFullToken = $true })
    Assert-That ($run.Status -eq 0) 'the same without verbose logging has exit code 0'
    Assert-That ($run.Output -match 'eyJ[\w-]+\.eyJ[\w-]+\.[\w-]{20,}') 'the full token is printed'

    $run = Invoke-Script ($vault + @{ ResourceUrl = "$env:KEYBOUND_EMULATOR_VAULT/secrets/missing?api-version=7.4" })
    Assert-That ($run.Status -eq 1) 'a rejected call has exit code 1'

    foreach ($wrong in @{ Scope = 'a" --show-full-token "b' }, @{ ResourceUrl = 'https://localhost/ --bearer' },
        @{ Scope = "a`n" }, @{ ResourceUrl = '' }) {
        $rejected = $false
        try {
            [void] (Invoke-Script $wrong)
        }
        catch [System.Management.Automation.ParameterBindingException] {
            $rejected = $true
        }
        Assert-That $rejected "$($wrong.Keys) with quotation marks or white space is rejected"
    }
}
catch {
    [Console]::Error.WriteLine("test-get-token: $($_.Exception.Message)")
    exit 1
}
exit 0
