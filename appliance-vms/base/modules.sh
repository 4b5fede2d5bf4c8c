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

# The files that one module takes, itself last; none for what is built into the kernel.
files_of() {
    chroot "$root" modprobe --set-version "$version" --show-depends "$1" |
        sed -n "s,^insmod */*\(usr/\)\{0,1\}lib/modules/$version/\([^ ]*\).*,\2,p"
}

# Every file that these modules take, each once, before what needs it.
all_files_of() {
    for module; do
        files_of "$module"
    done | awk '!seen[$0]++'
}

# shellcheck disable=SC2086 # a list of words
all_files_of $initrd >"$root/boot/initrd-modules"
if [ $# -gt 0 ]; then
    # shellcheck disable=SC2086
    all_files_of $initrd "$@" | sort >"$root/boot/kept-modules"
    (cd "$root/$folder" && find kernel -type f | sort | comm -23 - "$root/boot/kept-modules" | xargs -r rm)
    find "$root/$folder/kernel" -depth -type d -empty -delete
    chroot "$root" depmod "$version"
fi
