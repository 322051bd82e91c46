#!/usr/bin/env bash
# Makes a signing request with nothing but OpenSSL's own encoder: public_key.der and request.der in a folder. The key is
# thrown away. Without arguments: the golden request, here, with the values of tests/behaviour/csr.rs.
#
#   make.sh [FOLDER CLIENT_ID TENANT_ID CU_ID_JSON]
set -euo pipefail
folder=${1:-$(dirname "$0")}
client=${2:-1A1a1111-1111-1111-1111-11111111111B}
tenant=${3:-2A2a2222-2222-2222-2222-22222222222B}
golden='{"vmId":"33333333-3333-3333-3333-333333333333","vmssId":"44444444-4444-4444-4444-444444444444"}'
cu_id=${4:-$golden}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

openssl genrsa -out "$work/key.pem" 2048 2>/dev/null
openssl pkey -in "$work/key.pem" -pubout -outform DER -out "$folder/public_key.der"
modulus=$(openssl rsa -in "$work/key.pem" -noout -modulus | sed 's/Modulus=//')

cat >"$work/parts" <<END
[info]
version = INTEGER:0
subject = SEQUENCE:subject
public_key = SEQUENCE:public_key
attributes = IMPLICIT:0,SET:attributes
[subject]
first = SET:dc_part
second = SET:cn_part
[dc_part]
only = SEQUENCE:dc
[dc]
type = OID:0.9.2342.19200300.100.1.25
value = IA5STRING:$tenant
[cn_part]
only = SEQUENCE:cn
[cn]
type = OID:2.5.4.3
value = PRINTABLESTRING:$client
[public_key]
algorithm = SEQUENCE:rsa
key = BITWRAP,SEQUENCE:numbers
[rsa]
type = OID:1.2.840.113549.1.1.1
parameters = NULL
[numbers]
modulus = INTEGER:0x$modulus
exponent = INTEGER:65537
[attributes]
only = SEQUENCE:cu_id
[cu_id]
type = OID:1.3.6.1.4.1.311.90.2.10
values = SET:cu_id_values
[cu_id_values]
only = UTF8String:${cu_id//\"/\\\"}
[pss]
type = OID:1.2.840.113549.1.1.10
parameters = SEQUENCE:pss_parameters
[pss_parameters]
hash = EXPLICIT:0,SEQUENCE:sha256
mask = EXPLICIT:1,SEQUENCE:mgf1
salt = EXPLICIT:2,INTEGER:32
[mgf1]
type = OID:1.2.840.113549.1.1.8
hash = SEQUENCE:sha256
[sha256]
type = OID:2.16.840.1.101.3.4.2.1
END

{ echo "asn1 = SEQUENCE:info"; cat "$work/parts"; } >"$work/info.conf"
openssl asn1parse -genconf "$work/info.conf" -noout -out "$work/info.der"
openssl dgst -sha256 -sign "$work/key.pem" -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32 \
  -out "$work/signature" "$work/info.der"
{
  echo "asn1 = SEQUENCE:request"
  echo "[request]"
  echo "info = SEQUENCE:info"
  echo "algorithm = SEQUENCE:pss"
  echo "signature = FORMAT:HEX,BITSTRING:$(od -An -v -tx1 "$work/signature" | tr -d ' \n')"
  cat "$work/parts"
} >"$work/request.conf"
openssl asn1parse -genconf "$work/request.conf" -noout -out "$folder/request.der"
openssl req -in "$folder/request.der" -inform DER -verify -noout
