package itemfile_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache/internal/itemfile"
)

const limit = 1 << 20

var header = itemfile.Header{Saved: 1_700_000_000, Flush: 1_700_000_100, CAS: 1 << 40}

// samples returns items with all kinds of fields.
func samples() []itemfile.Item {
	return []itemfile.Item{
		{Key: []byte("a"), Value: []byte{}, CAS: 1},
		{Key: bytes.Repeat([]byte{0xff}, 255), Value: []byte("value"), Flags: 1<<32 - 1, Expires: 1 << 33, CAS: 1<<64 - 1, Bits: 255, Fetched: true},
		{Key: []byte("gone"), Value: []byte("\r\nEND\r\n"), Expires: -1},
		{Key: []byte("large"), Value: bytes.Repeat([]byte("0123456789"), 60_000)},
		{Key: []byte("largest"), Value: make([]byte, limit)},
		{Key: []byte("b"), Value: []byte("after the large one")},
	}
}

func write(t testing.TB, h itemfile.Header, items ...itemfile.Item) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := itemfile.NewWriter(&out, h)
	testkit.Must(t, err)
	for i := range items {
		testkit.Must(t, w.Write(&items[i]))
	}
	testkit.Must(t, w.Close())
	return out.Bytes()
}

// read reads all items.
func read(in io.Reader) (items []itemfile.Item, h itemfile.Header, err error) {
	r, err := itemfile.NewReader(in, limit)
	if err != nil {
		return nil, h, err
	}
	for {
		var it itemfile.Item
		switch err := r.Next(&it); {
		case errors.Is(err, io.EOF):
			return items, r.Header(), nil
		case err != nil:
			return items, r.Header(), err
		}
		it.Key, it.Value = bytes.Clone(it.Key), append([]byte{}, it.Value...)
		items = append(items, it)
	}
}

// TestItemsAreReadAsWritten, with every field.
func TestItemsAreReadAsWritten(t *testing.T) {
	for n := range len(samples()) + 1 {
		want := samples()[:n]
		got, h, err := read(bytes.NewReader(write(t, header, want...)))
		if err != nil || h != header || len(got) != n || n > 0 && !reflect.DeepEqual(got, want) {
			t.Errorf("%d items: read %d, %+v, %v", n, len(got), h, err)
		}
	}
}

// TestAValueAboveTheLimitIsOmitted, and the next items are read.
func TestAValueAboveTheLimitIsOmitted(t *testing.T) {
	file := write(t, header, itemfile.Item{Key: []byte("huge"), Value: make([]byte, limit+1)}, itemfile.Item{Key: []byte("b"), Value: []byte("c")})
	got, _, err := read(bytes.NewReader(file))
	testkit.Must(t, err)
	if len(got) != 2 || !got[0].TooLarge || len(got[0].Value) > 0 || string(got[0].Key) != "huge" || got[1].TooLarge || string(got[1].Value) != "c" {
		t.Errorf("read %+v", got)
	}
}

// TestATruncatedFileIsDamaged at any length, and so is a file with another byte.
func TestATruncatedFileIsDamaged(t *testing.T) {
	file := write(t, header, samples()[:3]...)
	for n := range file {
		_, _, err := read(bytes.NewReader(file[:n]))
		if want := itemfile.ErrDamaged; n < 8 && !errors.Is(err, itemfile.ErrForeign) || n >= 8 && !errors.Is(err, want) {
			t.Errorf("of %d bytes %d: %v", len(file), n, err)
		}
	}
	if _, _, err := read(bytes.NewReader(append(file, 0))); !errors.Is(err, itemfile.ErrDamaged) {
		t.Errorf("with a byte more: %v", err)
	}
}

// TestAChangedBitIsDetected at any place.
func TestAChangedBitIsDetected(t *testing.T) {
	file := write(t, header, samples()[:3]...)
	for i := range file {
		for bit := range 8 {
			file[i] ^= 1 << bit
			if _, _, err := read(bytes.NewReader(file)); err == nil {
				t.Errorf("bit %d of byte %d is changed, and there is no error", bit, i)
			}
			file[i] ^= 1 << bit
		}
	}
}

// TestOtherFilesAreRefused with an error for the reason.
func TestOtherFilesAreRefused(t *testing.T) {
	newer := write(t, header)
	binary.LittleEndian.PutUint32(newer[8:], itemfile.Version+1)
	for name, row := range map[string]struct {
		file []byte
		want error
	}{
		"empty": {nil, itemfile.ErrForeign}, "text": {[]byte(strings.Repeat("root:x:0:0\n", 100)), itemfile.ErrForeign},
		"zeros": {make([]byte, 1<<20), itemfile.ErrForeign}, "version": {newer, itemfile.ErrVersion},
	} {
		if _, _, err := read(bytes.NewReader(row.file)); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", name, err, row.want)
		}
	}
}

// TestALengthWithoutBytesAllocatesNoMemory: a head with a valid checksum announces a value of 1 GB, and the file ends after it.
func TestALengthWithoutBytesAllocatesNoMemory(t *testing.T) {
	file := write(t, header, itemfile.Item{Key: []byte("a"), Value: []byte("b")})
	head := file[44 : 44+36]
	binary.LittleEndian.PutUint32(head[8:], 1<<30)
	binary.LittleEndian.PutUint32(head[32:], crc32.Checksum(head[:32], crc32.MakeTable(crc32.Castagnoli)))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err := itemfile.NewReader(bytes.NewReader(file), 1<<30)
	testkit.Must(t, err)
	if err := r.Next(new(itemfile.Item)); !errors.Is(err, itemfile.ErrDamaged) || !strings.Contains(err.Error(), "cut short") {
		t.Errorf("the error is %v", err)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
		t.Errorf("it took %d bytes", took)
	}
}

// endless is a file of many items of 1 KB, which are generated while it is read.
func endless(items int) io.Reader {
	r, w := io.Pipe()
	go func() {
		f, err := itemfile.NewWriter(w, header)
		it := itemfile.Item{Key: []byte("key"), Value: make([]byte, 1000)}
		for i := 0; err == nil && i < items; i++ {
			err = f.Write(&it)
		}
		if err == nil {
			err = f.Close()
		}
		_ = w.CloseWithError(err) // never fails
	}()
	return r
}

// TestTheMemoryDoesNotGrowWithTheFile, which has 100 MB.
func TestTheMemoryDoesNotGrowWithTheFile(t *testing.T) {
	const items = 100_000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err := itemfile.NewReader(endless(items), limit)
	testkit.Must(t, err)
	var it itemfile.Item
	n := 0
	for ; err == nil; n++ {
		err = r.Next(&it)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; n != items+1 || !errors.Is(err, io.EOF) || took > 4<<20 {
		t.Errorf("%d items, %v, by %d bytes of memory", n-1, err, took)
	}
}

// failing is a reader and a writer that fails after a number of bytes.
type failing struct {
	data []byte
	left int
}

var errDisk = errors.New("the disk fails")

func (f *failing) Read(p []byte) (int, error) {
	n := copy(p, f.data[:min(f.left, len(f.data))])
	f.data, f.left = f.data[n:], f.left-n
	if n == 0 {
		return 0, errDisk
	}
	return n, nil
}

func (f *failing) Write(p []byte) (int, error) {
	if len(p) > f.left {
		return 0, errDisk
	}
	f.left -= len(p)
	return len(p), nil
}

// TestErrorsOfTheDiskAreNotErrDamaged, because the file may be intact.
func TestErrorsOfTheDiskAreNotErrDamaged(t *testing.T) {
	file := write(t, header, samples()...)
	for _, left := range []int{0, 20, 50, 100, 1000, len(file) - 1, len(file)} {
		if _, _, err := read(&failing{file, left}); !errors.Is(err, errDisk) || errors.Is(err, itemfile.ErrDamaged) {
			t.Errorf("after %d of %d bytes: %v", left, len(file), err)
		}
	}
	for _, left := range []int{0, 1 << 18, 1 << 20} {
		w, err := itemfile.NewWriter(&failing{left: left}, header)
		for i, items := 0, samples(); err == nil && i < len(items); i++ {
			err = w.Write(&items[i])
		}
		if err == nil {
			err = w.Close()
		}
		if !errors.Is(err, errDisk) {
			t.Errorf("a writer that takes %d bytes: %v", left, err)
		}
	}
}

// TestItemsThatTheFormatCannotHoldAreErrors, and the file continues without them.
func TestItemsThatTheFormatCannotHoldAreErrors(t *testing.T) {
	var out bytes.Buffer
	w, err := itemfile.NewWriter(&out, header)
	testkit.Must(t, err)
	for _, n := range []int{0, 256} {
		if err := w.Write(&itemfile.Item{Key: make([]byte, n)}); err == nil {
			t.Errorf("a key of %d bytes is written", n)
		}
	}
	testkit.Must(t, w.Write(&itemfile.Item{Key: []byte("a")}))
	testkit.Must(t, w.Close())
	if got, _, err := read(&out); err != nil || len(got) != 1 || w.Count() != 1 {
		t.Errorf("read %v, %v", got, err)
	}
}

// No file makes a Reader panic, and items of a file without error are the same after they are written and read again.
func FuzzReader(f *testing.F) {
	for n := range 4 {
		f.Add(write(f, header, samples()[:n]...), false)
		f.Add(write(f, header, samples()[:n]...), true)
	}
	f.Add([]byte("evmqitem"), true)
	f.Fuzz(func(t *testing.T, file []byte, mend bool) {
		if mend { // or hardly any file would have a right checksum
			fixSums(file)
		}
		items, h, err := read(bytes.NewReader(file))
		if err != nil {
			return
		}
		for _, it := range items {
			if it.TooLarge {
				return // it cannot be written again
			}
		}
		again := write(t, h, items...)
		back, h2, err := read(bytes.NewReader(again))
		if err != nil || h2 != h || !reflect.DeepEqual(back, items) {
			t.Errorf("%d items, %+v, are read again as %d, %+v, %v", len(items), h, len(back), h2, err)
		}
	})
}

// fixSums writes correct checksums as far as the lengths are valid.
func fixSums(file []byte) {
	sum := func(b []byte) { // over all but the last four bytes, which it writes
		n := len(b) - 4
		binary.LittleEndian.PutUint32(b[n:], crc32.Checksum(b[:n], crc32.MakeTable(crc32.Castagnoli)))
	}
	if len(file) < 44 {
		return
	}
	sum(file[:44])
	for rest := file[44:]; len(rest) >= 36; {
		sum(rest[:36])
		body := int64(rest[1]) + int64(binary.LittleEndian.Uint32(rest[8:])) + 4
		rest = rest[36:]
		if body > int64(len(rest)) {
			return
		}
		sum(rest[:body])
		rest = rest[body:]
	}
}

func ExampleNewWriter() {
	var file bytes.Buffer
	w, err := itemfile.NewWriter(&file, itemfile.Header{Saved: 1})
	if err == nil {
		err = w.Write(&itemfile.Item{Key: []byte("key"), Value: []byte("value")})
	}
	if err == nil {
		err = w.Close()
	}
	items, _, _ := read(&file)
	fmt.Println(err, len(items), string(items[0].Value))
	// Output: <nil> 1 value
}
