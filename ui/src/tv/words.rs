//! Every text of the interface, in every language. `{}` stands for a name or a number.
//!
//! Another language is another column here and another [`Language`].

/// A language that the interface speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// German.
    German,
}

impl Language {
    /// All of them, in the order in which they are offered.
    pub const ALL: [Self; 2] = [Self::English, Self::German];

    /// What the language calls itself.
    pub const fn own_name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::German => "Deutsch",
        }
    }

    /// Its texts.
    pub const fn words(self) -> &'static Words {
        match self {
            Self::English => &ENGLISH,
            Self::German => &GERMAN,
        }
    }
}

/// Makes [`Words`] and its languages from one table.
macro_rules! words {
    ($($name:ident: $english:literal, $german:literal;)*) => {
        /// The texts of one language.
        #[derive(Debug, PartialEq, Eq)]
        pub struct Words {
            $(#[doc = $english] pub $name: &'static str,)*
        }

        const ENGLISH: Words = Words { $($name: $english,)* };
        const GERMAN: Words = Words { $($name: $german,)* };

        impl Words {
            /// All texts, in the table's order.
            pub fn all(&self) -> impl Iterator<Item = &'static str> + use<> {
                [$(self.$name,)*].into_iter()
            }
        }
    };
}

words! {
    // Launcher
    hearth: "Hearth", "Hearth";
    settings: "Settings", "Einstellungen";
    power: "Power", "Ausschalten";
    set_up: "Set up", "Einrichten";
    trouble: "Look at a problem", "Problem ansehen";
    nothing_here: "Nothing is installed yet.", "Noch ist nichts installiert.";
    hold_ok: "Hold OK for more", "OK halten für mehr";
    state_off: "Off", "Aus";
    state_starting: "Starting…", "Startet…";
    state_running: "On", "An";
    state_paused: "Paused", "Angehalten";
    state_failed: "Has a problem", "Hat ein Problem";
    online: "Online", "Online";
    no_internet: "No internet", "Kein Internet";
    no_network: "No network", "Kein Netzwerk";
    update_ready: "Update ready", "Update bereit";
    update_loading: "Update: {} %", "Update: {} %";
    // Overlay
    carry_on: "Carry on", "Weiter";
    to_launcher: "All tiles", "Übersicht";
    restart_appliance: "Restart", "Neu starten";
    close_appliance: "Close", "Schließen";
    start_appliance: "Start", "Starten";
    volume: "Volume", "Lautstärke";
    muted: "Muted", "Stumm";
    is_starting: "{} is starting", "{} startet";
    no_picture: "{} shows no picture", "{} zeigt kein Bild";
    ask_close: "Close {}?", "{} schließen?";
    ask_restart: "Restart {}?", "{} neu starten?";
    ask_text: "What is not saved there may be lost.", "Nicht Gespeichertes kann verloren gehen.";
    yes: "Yes", "Ja";
    no: "No", "Nein";
    // Settings
    sound: "Sound", "Ton";
    picture: "Picture", "Bild";
    network: "Network", "Netzwerk";
    storage: "Storage", "Speicher";
    appliances: "Appliances", "Geräte";
    about: "About", "Über";
    done: "Done", "Fertig";
    mute: "Mute", "Stumm";
    night_sound: "Night sound", "Nachtton";
    on: "On", "An";
    off: "Off", "Aus";
    language: "Language", "Sprache";
    look: "Look", "Aussehen";
    look_normal: "Normal", "Normal";
    look_large: "Large type", "Große Schrift";
    look_contrast: "High contrast", "Mehr Kontrast";
    scaling: "Scaling", "Skalierung";
    scaling_smooth: "Smooth", "Weich";
    scaling_sharp: "Sharp", "Scharf";
    screen_off: "Screen off after", "Bildschirm aus nach";
    never: "Never", "Nie";
    minutes: "{} min", "{} min";
    connection: "Connection", "Verbindung";
    name: "Name", "Name";
    address: "Address", "Adresse";
    reconnect: "Connect again", "Neu verbinden";
    in_use: "In use", "Belegt";
    free: "Free", "Frei";
    gigabytes: "{} GB", "{} GB";
    disk: "Disk", "Datenträger";
    disk_well: "In good health", "In Ordnung";
    disk_ailing: "Should be replaced", "Sollte ersetzt werden";
    start_with_box: "Start with the box", "Mit der Box starten";
    version: "Version", "Version";
    processor: "Processor", "Prozessor";
    memory: "Memory", "Arbeitsspeicher";
    isolation: "Isolation", "Abschottung";
    update: "Update", "Update";
    up_to_date: "Up to date", "Aktuell";
    install_update: "Install update", "Update installieren";
    look_for_updates: "Look for updates", "Nach Updates suchen";
    // Power
    power_title: "What should the box do?", "Was soll die Box tun?";
    sleep: "Screen off", "Bildschirm aus";
    sleep_text: "Everything carries on. Any key wakes the screen.", "Alles läuft weiter. Jede Taste weckt den Bildschirm.";
    restart: "Restart", "Neu starten";
    restart_text: "Closes everything properly and starts again.", "Schließt alles ordentlich und startet neu.";
    power_off: "Turn off", "Ausschalten";
    power_off_text: "Closes everything properly. No data is lost.", "Schließt alles ordentlich. Nichts geht verloren.";
    cancel: "Cancel", "Abbrechen";
    // Trouble
    what_happened: "What happened", "Was passiert ist";
    what_the_box_did: "What the box did", "Was die Box getan hat";
    what_you_can_do: "What you can do", "Was Sie tun können";
    understood: "All right", "In Ordnung";
    stopped_title: "{} stopped", "{} ist stehen geblieben";
    stopped_happened: "{} stopped working by itself.", "{} hat von selbst aufgehört zu arbeiten.";
    stopped_did: "Its files are safe. Everything else carries on.", "Die Dateien sind sicher. Alles andere läuft weiter.";
    stopped_do: "Start it again. If that happens often, note the time and tell whoever looks after the box.",
        "Starten Sie es wieder. Passiert das oft, merken Sie sich die Uhrzeit und sagen Sie es dem, der die Box betreut.";
    failing_title: "{} can't start", "{} startet nicht";
    failing_happened: "{} was started several times and stopped each time.",
        "{} wurde mehrmals gestartet und hörte jedes Mal wieder auf.";
    failing_did: "The box no longer tries by itself. Everything else carries on.",
        "Die Box versucht es nicht mehr von selbst. Alles andere läuft weiter.";
    failing_do: "Try again. If that does not help, restart the box.",
        "Versuchen Sie es noch einmal. Hilft das nicht, starten Sie die Box neu.";
    full_title: "The disk is almost full", "Der Speicher ist fast voll";
    full_happened: "There is hardly any room left for new recordings and programs.",
        "Es ist kaum noch Platz für neue Aufnahmen und Programme.";
    full_did: "The box keeps a reserve, so that everything goes on working.",
        "Die Box hält eine Reserve frei, damit alles weiter funktioniert.";
    full_do: "Delete what you no longer need. Settings show what takes up room.",
        "Löschen Sie, was Sie nicht mehr brauchen. Die Einstellungen zeigen, was Platz braucht.";
    offline_title: "There is no network", "Kein Netzwerk";
    offline_happened: "The box gets no answer from your router.", "Die Box bekommt keine Antwort von Ihrem Router.";
    offline_did: "It keeps trying. What is stored here still plays.",
        "Sie versucht es weiter. Was hier gespeichert ist, spielt trotzdem.";
    offline_do: "Check the network cable, and whether the router is on.",
        "Prüfen Sie das Netzwerkkabel, und ob der Router an ist.";
    update_failed_title: "The update did not work", "Das Update ging nicht";
    update_failed_happened: "The new version did not start properly.", "Die neue Version ist nicht richtig gestartet.";
    update_failed_did: "The box went back to the version that worked. Nothing is lost.",
        "Die Box ist zur alten Version zurückgekehrt. Nichts ist verloren.";
    update_failed_do: "Nothing. The box tries again when there is a newer version.",
        "Nichts. Die Box versucht es wieder, wenn es eine neuere Version gibt.";
    // First run
    welcome: "Welcome to Hearth", "Willkommen bei Hearth";
    welcome_text: "Which language do you speak?", "Welche Sprache sprechen Sie?";
    wizard_look: "Can you read this well?", "Können Sie das gut lesen?";
    wizard_look_text: "Sit where you usually sit, and choose what is easiest on your eyes.",
        "Setzen Sie sich dorthin, wo Sie immer sitzen, und wählen Sie, was für Ihre Augen am besten ist.";
    wizard_sound: "How loud should it be?", "Wie laut soll es sein?";
    wizard_sound_text: "Left is softer, right is louder.", "Links ist leiser, rechts ist lauter.";
    wizard_network: "Your network", "Ihr Netzwerk";
    wizard_network_well: "The box is connected. There is nothing to do.", "Die Box ist verbunden. Es ist nichts zu tun.";
    wizard_network_not: "Put in the network cable. You can also do that later.",
        "Stecken Sie das Netzwerkkabel ein. Das geht auch später.";
    wizard_end: "That's all", "Das war alles";
    wizard_end_text: "The Home key brings you back to your tiles, from everywhere.",
        "Die Home-Taste bringt Sie von überall zurück zur Übersicht.";
    next: "Next", "Weiter";
    begin: "Begin", "Los geht’s";
    // Calendar
    monday: "Monday", "Montag";
    tuesday: "Tuesday", "Dienstag";
    wednesday: "Wednesday", "Mittwoch";
    thursday: "Thursday", "Donnerstag";
    friday: "Friday", "Freitag";
    saturday: "Saturday", "Samstag";
    sunday: "Sunday", "Sonntag";
    january: "{} January", "{}. Januar";
    february: "{} February", "{}. Februar";
    march: "{} March", "{}. März";
    april: "{} April", "{}. April";
    may: "{} May", "{}. Mai";
    june: "{} June", "{}. Juni";
    july: "{} July", "{}. Juli";
    august: "{} August", "{}. August";
    september: "{} September", "{}. September";
    october: "{} October", "{}. Oktober";
    november: "{} November", "{}. November";
    december: "{} December", "{}. Dezember";
}

impl Words {
    /// The day of the week; 0 is Monday.
    pub fn weekday(&self, day: u8) -> &'static str {
        let days = [
            self.monday,
            self.tuesday,
            self.wednesday,
            self.thursday,
            self.friday,
            self.saturday,
            self.sunday,
        ];
        days.get(usize::from(day)).copied().unwrap_or_default()
    }

    /// "`{}` January"; 1 is January.
    pub fn month(&self, month: u8) -> &'static str {
        let months = [
            self.january,
            self.february,
            self.march,
            self.april,
            self.may,
            self.june,
            self.july,
            self.august,
            self.september,
            self.october,
            self.november,
            self.december,
        ];
        usize::from(month).checked_sub(1).and_then(|month| months.get(month)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tv::lettering::Lettering;

    #[test]
    fn every_language_says_everything_in_letters_that_the_fonts_have() {
        let lettering = Lettering::new().unwrap();
        for language in Language::ALL {
            for (text, english) in language.words().all().zip(ENGLISH.all()) {
                assert!(!text.is_empty(), "{language:?} lacks {english:?}");
                assert_eq!(text.matches("{}").count(), english.matches("{}").count(), "{text:?}");
                let missing = text.chars().find(|&letter| !lettering.has(letter));
                assert_eq!(missing, None, "in {text:?}");
            }
        }
    }
}
