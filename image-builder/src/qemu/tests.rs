//! What the command line must hold, and must not.

use super::*;

fn artifacts() -> Artifacts {
    Artifacts { dir: PathBuf::from("/a,b") }
}

fn line(machine: &Machine) -> String {
    machine.command_line(&artifacts()).expect("no OVMF needed").join(" ")
}

fn rom() -> Machine {
    Machine { door: Door::Rom, accel: Accel::Tcg, ..Machine::default() }
}

#[test]
fn the_rom_is_the_bios_and_the_disk_is_never_written() {
    let line = line(&rom());
    assert!(line.starts_with("qemu-system-x86_64 -name hearth -nodefaults "), "{line}");
    assert!(line.contains("-bios /a,b/hearth.rom"), "{line}");
    assert!(line.contains("snapshot=on,file=/a,,b/hearth.img"), "{line}");
    assert!(line.contains("-accel tcg,thread=multi -cpu EPYC,+svm,+npt -smp 2 -m 2048M"), "{line}");
    assert!(line.contains("-display none") && !line.contains("-no-reboot"), "{line}");
}

#[test]
fn options_keep_their_commas() {
    let options = "panic=halt test=a,b".to_owned();
    let line = line(&Machine { options, ..rom() });
    assert!(line.contains("-fw_cfg name=opt/hearth/options,string=panic=halt test=a,,b"), "{line}");
}

#[test]
fn ahci_is_on_the_board_or_beside_it() {
    let on = line(&Machine { disk: DiskBus::Ahci, ..rom() });
    assert!(on.contains("bus=ide.0") && !on.contains("ich9-ahci"), "{on}");
    let beside = line(&Machine { disk: DiskBus::Ahci, board: "pc".to_owned(), ..rom() });
    assert!(beside.contains("-device ich9-ahci,id=ahci -device ide-hd,bus=ahci.0"), "{beside}");
}

#[test]
fn a_network_card_does_not_start_the_box() {
    let with = line(&rom());
    assert!(with.ends_with("-netdev user,id=net -device virtio-net-pci,netdev=net,romfile="), "{with}");
    assert!(!line(&Machine { network: false, ..rom() }).contains("-netdev"));
}

#[test]
fn a_sound_card_plays_where_it_is_told() {
    let line = line(&Machine { sound: Some("wav,path=/s.wav".to_owned()), network: false, ..rom() });
    let card = "-audiodev wav,path=/s.wav,id=sound -device ich9-intel-hda -device hda-output,audiodev=sound";
    assert!(line.ends_with(card), "{line}");
}

#[test]
fn counting_needs_one_cpu() {
    let counting = Machine { accel: Accel::Icount, ..rom() };
    assert!(counting.command_line(&artifacts()).is_err());
    let line = line(&Machine { cpus: 1, ..counting });
    assert!(line.contains("-accel tcg,thread=single -icount shift=0,sleep=off"), "{line}");
}

#[test]
fn a_shell_reads_back_what_was_meant() {
    let words = ["a", "b c", "", "it's", "$HOME"].map(str::to_owned);
    assert_eq!(shell_quoted(&words), r"a 'b c' '' 'it'\''s' '$HOME'");
}
