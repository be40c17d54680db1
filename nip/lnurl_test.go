package nip

import (
	"strings"
	"testing"
)

// Excludes: LNURLs that other wallets read differently; the pair is LUD-01's.
func TestLNURL(t *testing.T) {
	const url = "https://service.com/api?q=3fc3645b439ce8e7f2553a69e5267081d96dcd340693afabe04be7b0ccd178df"
	const text = "LNURL1DP68GURN8GHJ7UM9WFMXJCM99E3K7MF0V9CXJ0M385EKVCENXC6R2C35XVUKXEFCV5MKVV34X5EKZD3EV56NYD3HXQURZEPEXEJXXEPNXSCRVWFNV9NXZCN9XQ6XYEFHVGCXXCMYXYMNSERXFQ5FNS"
	if got := EncodeLNURL(url); strings.ToUpper(got) != text {
		t.Errorf("got %s", got)
	}
	for _, s := range []string{text, lower(text), "lightning:" + text} {
		if got, err := DecodeLNURL(s); err != nil || got != url {
			t.Errorf("%s: %s, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "lnurl1", text[:40], lower(text[:9]) + text[9:], text + "q", "lnbc1" + text[6:], text[:20] + "b" + text[21:], strings.Repeat("lnurl1q", 999)} {
		if got, err := DecodeLNURL(s); err == nil {
			t.Errorf("accepted %.20s: %s", s, got)
		}
	}
}

func FuzzDecodeLNURL(f *testing.F) {
	f.Add(EncodeLNURL("https://x.example/"))
	f.Fuzz(func(t *testing.T, s string) {
		_, _ = DecodeLNURL(s)
		if got, err := DecodeLNURL(EncodeLNURL(s)); len(s) < 1000 && (err != nil || got != s) {
			t.Errorf("%q came back as %q, %v", s, got, err)
		}
	})
}
