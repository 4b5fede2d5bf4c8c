//! The driver and the device model speak the same words.

use super::*;
use crate::virtio::gpu::testkit::{answer_bytes, understood};

const SIZE: Size = Size::new(1280, 720);

fn area(x: i32, y: i32, width: u32, height: u32) -> Rectangle {
    Rectangle::new(Point::new(x, y), Size::new(width, height))
}

#[test]
fn the_device_understands_every_request() {
    let memory = HostRange { address: 0x1_2345_6000, len: 1280 * 720 * 4 };
    for (request, said) in [
        (Request::DisplayInfo, "DisplayInfo"),
        (Request::Create(SIZE), "Create { resource: 1, format: 2, width: 1280, height: 720 }"),
        (Request::Attach(memory), "Attach { resource: 1, entries: 1 }"),
        (
            Request::Show(SIZE),
            "SetScanout { rect: Rect { x: 0, y: 0, width: 1280, height: 720 }, scanout: 0, resource: 1 }",
        ),
        (
            Request::Transfer(area(3, 2, 5, 4), 1280),
            "Transfer { rect: Rect { x: 3, y: 2, width: 5, height: 4 }, offset: 10252, resource: 1 }",
        ),
        (
            Request::Flush(area(3, 2, 5, 4)),
            "Flush { rect: Rect { x: 3, y: 2, width: 5, height: 4 }, resource: 1 }",
        ),
    ] {
        let bytes = request.bytes();
        assert!(bytes.len() <= REQUEST);
        assert_eq!(understood(&bytes), said);
    }
    let attach = Request::Attach(memory).bytes();
    let entry: Vec<u32> = (8..12).filter_map(|at| word(&attach, at)).collect();
    assert_eq!(entry, [0x2345_6000, 1, 1280 * 720 * 4, 0]);
}

#[test]
fn the_picture_is_as_large_as_the_screen_has_room() {
    let of = |width: u32, height: u32, enabled: u32| {
        let mut answer = answer_bytes(Mode::Hd);
        assert_eq!(answer.len(), ANSWER);
        for (at, value) in [(8, width), (12, height), (16, enabled)] {
            answer[HEADER + at..HEADER + at + 4].copy_from_slice(&value.to_le_bytes());
        }
        size(&answer)
    };
    assert_eq!(of(1280, 800, 1), Some(SIZE));
    assert_eq!(of(3840, 2160, 1), Some(Size::new(1920, 1080)));
    assert_eq!(of(1024, 768, 1), Some(Size::new(1024, 768)));
    assert_eq!([of(0, 0, 0), of(0, 9, 1)], [Some(SIZE); 2]);
    assert_eq!([size(&[]), size(&[0; ANSWER])], [None; 2]);
    assert!(!is_done(&[]) && is_done(&kind::OK_NODATA.to_le_bytes()));
}

#[test]
fn pieces_are_shown_together_and_many_areas_as_one() {
    let mut drawn = Drawn::default();
    for y in [10, 20, 30] {
        drawn.add(area(5, y, 7, 10));
    }
    drawn.add(area(5, 50, 7, 10));
    let (first, second) = (area(5, 10, 7, 30), area(5, 50, 7, 10));
    let expected = [
        Request::Transfer(first, 99),
        Request::Transfer(second, 99),
        Request::Flush(first),
        Request::Flush(second),
    ];
    assert_eq!(drawn.requests(99), expected);
    assert!(drawn.is_empty() && drawn.requests(99).is_empty());
    for at in 0..20 {
        drawn.add(area(2 * at, 3 * at, 1, 1));
    }
    let requests = drawn.requests(99);
    assert!(requests.len() <= 2 * MOST_AREAS);
    assert!((0..20).all(|at| requests.iter().any(|request| match request {
        Request::Flush(shown) => shown.contains(Point::new(2 * at, 3 * at)),
        _ => false,
    })));
}
