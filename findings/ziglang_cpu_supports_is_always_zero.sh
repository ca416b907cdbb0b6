#!/usr/bin/env bash
# zig cc 0.17.1 (the ziglang wheel, a drop-in C compiler made of clang): __builtin_cpu_supports is 0 for every feature on x86-64.
#
# GCC documents the builtin as a check of the processor that runs the program, and clang has it too. A program that chooses its vector
# instructions by it, compiled by zig, finds that the processor has none: not even sse2, which every x86-64 has. It does so after
# __builtin_cpu_init() as well, with glibc and with musl, and nothing is said when it is compiled or linked. What the same program learns
# by cpuid is right. A library that falls back to plain code, or refuses to load, does so on every machine without a word.
#
# Seen: ziglang 0.17.1 on x86-64 Linux prints "sse2 0 0, by cpuid 1" for x86_64-linux-gnu.2.17, x86_64-linux-gnu and x86_64-linux-musl;
# gcc 12.2 prints "sse2 1 1, by cpuid 1".
set -euo pipefail

[ "$(uname -m)" = x86_64 ] || { echo "only on x86-64"; exit 0; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet ziglang==0.17.1
cat > "$folder/supports.c" <<'C'
#include <cpuid.h>
#include <stdio.h>
int main(void) {
  const int before = !!__builtin_cpu_supports("sse2");
  __builtin_cpu_init();
  const int after = !!__builtin_cpu_supports("sse2");
  unsigned a, b, c, d;
  __get_cpuid(1, &a, &b, &c, &d);
  printf("sse2 %d %d, by cpuid %d\n", before, after, (d & bit_SSE2) != 0);
}
C
for target in x86_64-linux-gnu.2.17 x86_64-linux-gnu x86_64-linux-musl; do
  "$folder/venv/bin/python" -m ziglang cc -target "$target" -O1 "$folder/supports.c" -o "$folder/supports"
  said=$("$folder/supports")
  echo "$target: $said"
  [ "$said" = "sse2 0 0, by cpuid 1" ]
done
if command -v gcc > /dev/null; then
  gcc -O1 "$folder/supports.c" -o "$folder/supports"
  [ "$("$folder/supports")" = "sse2 1 1, by cpuid 1" ]
fi
echo "as described"
