#!/bin/sh
# Kernel modules of a new root: keeps those that the appliance names, and writes down, in the order
# in which they must be loaded, those that its initrd holds.
#
#   modules.sh ROOT "INITRD-MODULE…" [MODULE…]
#
# Run by mmdebstrap once all packages are installed. Without a MODULE all stay.
set -eu

root=$1
initrd=$2
shift 2

version=$(cd "$root/usr/lib/modules" && echo *)
folder=usr/lib/modules/$version

# Writes to a file $1 which files the other words, as modules, take: each once, before what needs it.
# What is built into the kernel takes none; what Debian does not know ends the build.
list() {
    out=$1
    shift
    for module; do
        chroot "$root" modprobe --set-version "$version" --show-depends "$module"
    done >"$out.told"
    sed -n "s|^insmod /\(usr/\)*lib/modules/$version/\([^ ]*\).*|\2|p" "$out.told" | awk '!seen[$0]++' >"$out"
    rm "$out.told"
}

# shellcheck disable=SC2086 # a list of words
list "$root/boot/initrd-modules" $initrd
if [ $# -gt 0 ]; then
    # shellcheck disable=SC2086
    list "$root/boot/kept-modules" $initrd "$@"
    sort -o "$root/boot/kept-modules" "$root/boot/kept-modules"
    (cd "$root/$folder" && find kernel -type f | sort | comm -23 - "$root/boot/kept-modules" | xargs -r rm)
    find "$root/$folder/kernel" -depth -type d -empty -delete
    chroot "$root" depmod "$version"
fi
