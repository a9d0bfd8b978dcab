package difftest_test

import (
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache/difftest"
)

// listed fills a server with items of many classes. It returns the lists of cachedump and metadump for each class, and the number of its items in
// stats items.
func listed(t *testing.T, d *daemon) (lines []string, perClass map[int][3]int) {
	t.Helper()
	ask := func(request string) []string {
		answer, err := difftest.Stream(d.addr, []byte(request+"\r\n"), 1<<20)
		testkit.Must(t, err)
		text := strings.FieldsFunc(string(answer), func(c rune) bool { return c == '\r' || c == '\n' })
		if last := text[len(text)-1]; last != "END" {
			t.Fatalf("%s: %s: the answer ends in %q", d.name, request, last)
		}
		return text[:len(text)-1]
	}
	perClass = map[int][3]int{}
	for _, line := range ask("stats items") {
		var class, items int
		if n, _ := fmt.Sscanf(line, "STAT items:%d:number %d", &class, &items); n == 2 {
			perClass[class] = [3]int{items}
		}
	}
	for class, n := range perClass {
		dump := ask(fmt.Sprint("stats cachedump ", class, " 0"))
		lines = append(lines, dump...)
		perClass[class] = [3]int{n[0], len(dump), len(ask(fmt.Sprint("lru_crawler metadump ", class)))}
		if few := ask(fmt.Sprint("stats cachedump ", class, " 2")); len(few) != min(2, n[0]) {
			t.Errorf("%s: class %d has %d items, and a cachedump of 2 lists %d", d.name, class, n[0], len(few))
		}
	}
	slices.Sort(lines)
	return lines, perClass
}

// TestCachedumpListsWhatMemcachedLists: the same lines over all classes, and in each as many as stats items counts.
func TestCachedumpListsWhatMemcachedLists(t *testing.T) {
	t.Parallel()
	at := time.Now().Unix() + 100_000
	var fill strings.Builder
	for i, size := range []int{0, 1, 2, 30, 100, 101, 500, 4000, 4001, 60_000, 500_000, 500_000} {
		fmt.Fprintf(&fill, "set key%d 0 %d %d\r\n%s\r\n", i, []int64{0, at}[i%2], size, strings.Repeat("v", size))
	}
	fill.WriteString("set last 0 0 1\r\nx\r\n")
	var all [2][]string
	for i, d := range []*daemon{startMemcached(t), startEvcached(t)} {
		_, err := difftest.Stream(d.addr, []byte(fill.String()), fill.Len())
		testkit.Must(t, err)
		lines, perClass := listed(t, d)
		for class, n := range perClass {
			if n[0] != n[1] || n[0] != n[2] {
				t.Errorf("%s: class %d has %d items; cachedump lists %d, metadump %d", d.name, class, n[0], n[1], n[2])
			}
		}
		all[i] = lines
	}
	if want, got := strings.Join(all[0], "\n"), strings.Join(all[1], "\n"); got != want || len(all[0]) != 13 {
		t.Errorf("the keys are\n%s\n\nwant\n%s", got, want)
	}
}

// TestMemcdumpListsAllKeys runs the program memcdump of libmemcached, which requests one class after another.
func TestMemcdumpListsAllKeys(t *testing.T) {
	t.Parallel()
	path := testkit.Program(t, "memcdump")
	eachServer(t, func(t *testing.T, d *daemon) {
		var fill strings.Builder
		var want []string
		for i := range 200 {
			fmt.Fprintf(&fill, "set key%d 0 0 %d noreply\r\n%s\r\n", i, i*i, strings.Repeat("v", i*i))
			want = append(want, "key"+strconv.Itoa(i))
		}
		fill.WriteString("mn\r\n")
		_, err := difftest.Stream(d.addr, []byte(fill.String()), fill.Len())
		testkit.Must(t, err)
		out, err := exec.Command(path, "--servers="+d.addr).CombinedOutput()
		if err != nil {
			t.Fatalf("memcdump: %v\n%s", err, out)
		}
		got := strings.Fields(string(out))
		slices.Sort(got)
		slices.Sort(want)
		equal(t, strings.Join(got, " "), strings.Join(want, " "))
	})
}

// TestVersionIsThatOfMemcached over both protocols, byte for byte: some clients fail on any other.
func TestVersionIsThatOfMemcached(t *testing.T) {
	t.Parallel()
	reference, ours := startMemcached(t), startEvcached(t)
	for _, request := range []string{"version\r\n", string(difftest.Frame{Magic: difftest.RequestMagic, Op: 0x0b}.Append(nil))} {
		want, err := difftest.Stream(reference.addr, []byte(request), len(request))
		testkit.Must(t, err)
		got, err := difftest.Stream(ours.addr, []byte(request), len(request))
		testkit.Must(t, err)
		equal(t, string(got), string(want))
	}
}

// TestTheSecondWordOfOptionVIsMemcachedsRelease, for scripts that parse it.
func TestTheSecondWordOfOptionVIsMemcachedsRelease(t *testing.T) {
	t.Parallel()
	path, err := evcached()
	testkit.Must(t, err)
	var words [2]string
	for i, path := range []string{memcached(t), path} {
		out, err := exec.Command(path, "-V").Output()
		testkit.Must(t, err)
		words[i] = strings.Fields(string(out))[1]
	}
	equal(t, words[1], words[0])
}
