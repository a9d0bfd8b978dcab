package httpd

import (
	"net/http"
	"strings"
	"testing"
)

// signatures are the beginnings of contents that have a type of their own, from https://mimesniff.spec.whatwg.org, sections 6 and 7; a dot
// is any byte.
var signatures = []string{
	"<!DOCTYPE HTML>", "<HTML>", "<a ", "<?xml", "%PDF-", "%!PS-Adobe-", "\xfe\xff..", "\xff\xfe..", "\xef\xbb\xbf.", "\x00\x00\x01\x00", "BM", "GIF87a",
	"GIF89a", "RIFF....WEBPVP", "\x89PNG\r\n\x1a\n", "\xff\xd8\xff", "FORM....AIFF", "ID3", "OggS\x00", "MThd\x00\x00\x00\x06", "RIFF....AVI ",
	"RIFF....WAVE", "\x00\x00\x00\x10ftypmp42....", "\x1a\x45\xdf\xa3", "..................................LP", "\x00\x01\x00\x00", "OTTO", "ttcf", "wOFF",
	"wOF2", "\x1f\x8b\x08", "PK\x03\x04", "Rar!\x1a\x07\x00", "Rar!\x1a\x07\x01\x00", "\x00asm", ".snd", "moov", "{\\rtf1",
}

// contentType returns the same as http.DetectContentType for every first byte, with each byte after it, for each signature with a part
// replaced, and for texts of each length around the bounds.
func TestTheContentTypeIsThatOfDetectContentType(t *testing.T) {
	check := func(p string) {
		if got, want := contentType([]byte(p)), http.DetectContentType([]byte(p)); got != want {
			t.Errorf("%q: %s, but DetectContentType returns %s", p, got, want)
		}
	}
	plain := "hello, world: no signature, and long"
	for a := range 256 {
		for b := range 256 {
			p := string([]byte{byte(a), byte(b)})
			check(p)
			check(p + plain)
		}
		for _, s := range signatures {
			check(strings.ReplaceAll(s, ".", string([]byte{byte(a)})))
			for cut := range len(s) {
				check(string([]byte{byte(a)}) + s[cut:])
				check(s[:cut] + string([]byte{byte(a)}) + s[cut:])
				check(s[:cut] + plain)
			}
		}
	}
	for n := range 600 {
		text := strings.Repeat("text ", 120)[:n]
		for _, last := range []string{"", "\x00", "\x1b", "LP", "\xff", "<html>"} {
			check(text + last)
			check(text + last + plain)
		}
	}
}

func FuzzContentType(f *testing.F) {
	for _, s := range signatures {
		f.Add([]byte(s))
	}
	f.Add([]byte("hello\n"))
	f.Add([]byte(`{"id":1}`))
	f.Fuzz(func(t *testing.T, p []byte) {
		if got, want := contentType(p), http.DetectContentType(p); got != want {
			t.Errorf("%q: %s, but DetectContentType returns %s", p, got, want)
		}
	})
}

func BenchmarkContentType(b *testing.B) {
	json := []byte(`{"id":4711,"name":"Ada Lovelace","email":"ada@example.org","active":true,"created":"2026-11-29T04:00:00Z"}`)
	for _, c := range []struct {
		name string
		fn   func([]byte) string
	}{{"ours", contentType}, {"DetectContentType", http.DetectContentType}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				c.fn(json)
			}
		})
	}
}
