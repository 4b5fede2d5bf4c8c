use super::*;

/// A folder with a kernel in it.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("kernel"), b"x").expect("written");
    folder
}

/// What is said about a text, with the folder's name left out.
fn said(text: &str) -> String {
    let folder = folder();
    let error = Recipe::parse(folder.path(), text).expect_err("mistakes");
    error.to_string().replace(&format!("{}/", folder.path().display()), "")
}

const WHOLE: &str = r#"
name     = "music"
title    = "Music"
cpus     = 2
memory   = "256M"
start    = "demand"
[kernel]
format   = "linux"
image    = "vmlinuz"
initrd   = "initrd"
cmdline  = "quiet"
[devices]
display  = false
sound    = true
input    = false
network  = true
debug-exit = false
log-console = true
[[disk]]
image    = "root.squashfs"
[[disk]]
size     = "256M"
[[disk]]
size     = "64K"
name     = "library"
[rootfs]
packages = ["mpd", "linux-image-amd64"]
"#;

#[test]
fn a_whole_recipe_is_read() {
    let recipe = Recipe::parse(Path::new("x"), WHOLE).expect("no mistake");
    assert_eq!((recipe.name.as_str(), recipe.title.as_str()), ("music", "Music"));
    assert_eq!((recipe.cpus, recipe.memory, recipe.start), (2, 256 << 20, Start::Demand));
    assert_eq!((recipe.format, recipe.cmdline.as_str()), (Format::Linux, "quiet"));
    assert_eq!(recipe.kernel, Source::Rootfs(Product::Kernel));
    assert_eq!(recipe.initrd, Some(Source::Rootfs(Product::Initrd)));
    let devices = Devices { sound: true, network: true, log_console: true, ..Devices::default() };
    assert_eq!(recipe.devices, devices);
    let volume = |name: &str, size| DiskSource::Volume { name: name.to_owned(), size };
    let disks = [
        DiskSource::Image(Source::Rootfs(Product::Root)),
        volume("data", 256 << 20),
        volume("library", 64 << 10),
    ];
    assert_eq!(recipe.disks, disks);
    let packages = recipe.rootfs.expect("a root").packages;
    assert_eq!(packages.into_iter().collect::<Vec<_>>(), ["linux-image-amd64", "mpd"]);
}

#[test]
fn what_may_be_left_out_has_a_plain_meaning() {
    let folder = folder();
    let text = "name = 'a'\nmemory = '2M'\nkernel = { format = 'multiboot', image = 'kernel' }\n";
    let recipe = Recipe::parse(folder.path(), text).expect("no mistake");
    assert_eq!((recipe.title.as_str(), recipe.cpus, recipe.start), ("a", 1, Start::Boot));
    assert_eq!(recipe.kernel, Source::File(folder.path().join("kernel")));
    assert_eq!((recipe.initrd, recipe.cmdline.as_str()), (None, ""));
    assert_eq!((recipe.devices, recipe.disks, recipe.rootfs), (Devices::default(), Vec::new(), None));
}

#[test]
fn every_mistake_is_told_at_once_with_its_line() {
    let text = "\
name = \"Music\"
memroy = \"256M\"
cpus = 17
display = true
start = \"later\"

[kernel]
format = \"elf\"
image = \"vmlinuz\"

[devices]
network = 1
colour = true

[[disk]]
name = \"x\"

[[disk]]
size = \"1000\"
image = \"root.squashfs\"
";
    let expected = "\
appliance.toml:1: name must be 1 to 15 of a-z, 0-9 and -, a letter first, not \"Music\"
appliance.toml:1: key \"memory\" is missing; for example: memory = \"256M\"
appliance.toml:2: unknown key \"memroy\"; did you mean \"memory\"?
appliance.toml:3: cpus must be a number from 1 to 16, not 17
appliance.toml:4: unknown key \"display\"; it belongs in [devices]
appliance.toml:5: start must be \"boot\" or \"demand\", not \"later\"
appliance.toml:8: format must be \"linux\" or \"pvh\" or \"multiboot\", not \"elf\"
appliance.toml:9: image: there is no file vmlinuz
appliance.toml:12: network must be true or false, not 1
appliance.toml:13: unknown key \"colour\" in [devices]; the nearest is \"input\"; known are display, sound, input, \
         network, debug-exit, log-console
appliance.toml:15: key \"size\" in [disk] is missing; for example: size = \"256M\", or image = \"root.squashfs\"
appliance.toml:18: a disk has an image or a size, not both
appliance.toml:19: size must be a multiple of 4 KiB, such as \"256M\" or \"4G\", not \"1000\"
appliance.toml:20: image: there is no file root.squashfs
next: mend this file; docs/appliances.md explains every key";
    assert_eq!(said(text), expected);
}

#[test]
fn the_boxs_name_is_its_own() {
    assert!(said(&WHOLE.replace("\"music\"", "\"hearth\"")).contains("box's own"));
}

#[test]
fn what_is_not_toml_is_told_with_its_line() {
    let unquoted = said("name = \"a\"\nmemory = 256M\n");
    assert!(unquoted.starts_with("appliance.toml:2: not TOML: "), "{unquoted}");
    assert!(said("name = 'a'\nname = 'b'\n").starts_with("appliance.toml:2: not TOML: dup"));
}

#[test]
fn sections_of_the_wrong_kind_are_told() {
    let text = "name = 'a'\nmemory = '2M'\nkernel = 1\nrootfs = 'x'\ndisk = [2]\n";
    assert_eq!(
        said(text),
        "appliance.toml:3: kernel must be a section, [kernel], not an integer\n\
         appliance.toml:4: rootfs must be a section, [rootfs], not a string\n\
         appliance.toml:5: disk must be a list of sections, [[disk]] each\n\
         next: mend this file; docs/appliances.md explains every key"
    );
    assert!(said("").contains("appliance.toml:1: section [kernel] is missing"));
    let one = "name = 'a'\nmemory = '2M'\n[disk]\nsize='4K'\n[kernel]\nformat='pvh'\nimage='kernel'\n";
    assert!(said(one).contains("appliance.toml:3: disk must be a list of sections"), "{}", said(one));
}

#[test]
fn volumes_have_names_of_their_own_and_images_have_none() {
    let start = "name = 'a'\nmemory = '2M'\nkernel = { format = 'pvh', image = 'kernel' }\n";
    let twice = said(&format!("{start}[[disk]]\nsize = '4K'\n[[disk]]\nsize = '4K'\n"));
    assert!(twice.starts_with("appliance.toml:6: there are two volumes called \"data\""), "{twice}");
    let image = said(&format!("{start}[[disk]]\nimage = 'kernel'\nname = 'x'\n"));
    assert!(image.starts_with("appliance.toml:4: only a volume has a name"), "{image}");
    let many = said(&format!("{start}{}", "[[disk]]\nimage = 'kernel'\n".repeat(9)));
    assert!(many.starts_with("appliance.toml:20: there are 9 disks, at most 8 fit"), "{many}");
}

#[test]
fn sizes_are_whole_units_in_range() {
    assert_eq!(
        (size("4K", 4096), size("3M", 4096), size("2G", 2 << 20)),
        (Some(4096), Some(3 << 20), Some(2 << 30))
    );
    for wrong in ["", "M", "0M", "3M", "+2M", "-2M", "2T", "2m", "5000G", "99999999999999999999G", "2", "€"]
    {
        assert_eq!(size(wrong, 2 << 20), None, "{wrong}");
    }
}

#[test]
fn a_folder_without_a_recipe_is_named() {
    let error = Recipe::read(Path::new("/nowhere")).expect_err("nothing there").to_string();
    assert!(error.starts_with("reading /nowhere/appliance.toml; next: name a folder"), "{error}");
}
