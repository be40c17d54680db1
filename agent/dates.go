package agent

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var (
	isoDate = regexp.MustCompile(`\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2})?(?:Z|[+-]\d{2}:\d{2})?)?`)
	unixAsk = regexp.MustCompile(`(?i)^(?:unix|timestamp|epoch|unix time|unixtime)\s+(\d{1,15})$`)
	unixOf  = regexp.MustCompile(`(?i)^(?:unix|timestamp|epoch|unix time|unixtime)(?:\s+of)?\s+\d{4}-`)
	between = regexp.MustCompile(`(?i)\b(days?|weeks?)\b.*\b(between|from|until|till|to|since|left)\b`)
	addDays = regexp.MustCompile(`(?i)^(\d{4}-\d{2}-\d{2})\s*([+-]|plus|minus)\s*(\d{1,6})\s*(days?|weeks?)$`)
	weekday = regexp.MustCompile(`(?i)^(what day|which day|what weekday|weekday|day of)\b`)
)

// dates answers questions about dates and times, all in UTC.
func (b *Builtin) dates(_ context.Context, q string) (string, bool) {
	if len(q) > maxQuestion {
		return "", false
	}
	now := b.cfg.Now().UTC()
	ask := plain(q)
	switch ask {
	case "now", "time", "date", "today", "what time is it", "what is the time", "what is the date", "what day is it",
		"what day is today", "what is today", "what is the date today", "current time", "unix time", "timestamp", "unix", "epoch":
		return fmt.Sprintf("It is %s UTC (unix %d).", now.Format("Monday, 2 January 2006, 15:04:05"), now.Unix()), true
	}
	if m := unixAsk.FindStringSubmatch(ask); m != nil {
		return unixTime(m[1])
	}
	found := isoDate.FindAllString(q, 3)
	if len(found) == 0 || len(found) > 2 {
		return "", false
	}
	first, err := parseDate(found[0])
	if err != nil {
		return fmt.Sprintf("%s is not a date that exists.", found[0]), true
	}
	if len(found) == 2 {
		second, err := parseDate(found[1])
		if err != nil {
			return fmt.Sprintf("%s is not a date that exists.", found[1]), true
		}
		if between.MatchString(q) {
			return span(first, second), true
		}
		return "", false
	}
	return oneDate(q, ask, first, now)
}

// oneDate answers questions that name one date.
func oneDate(q, ask string, date, now time.Time) (string, bool) {
	if m := addDays.FindStringSubmatch(ask); m != nil {
		n, _ := strconv.Atoi(m[3])
		if strings.HasPrefix(m[4], "week") {
			n *= 7
		}
		if m[2] == "-" || m[2] == "minus" {
			n = -n
		}
		return "It is " + date.AddDate(0, 0, n).Format("Monday, 2006-01-02") + ".", true
	}
	switch {
	case unixOf.MatchString(ask):
		return fmt.Sprintf("%s is unix %d.", date.Format(time.RFC3339), date.Unix()), true
	case between.MatchString(q):
		return span(now.Truncate(24*time.Hour), date), true
	case weekday.MatchString(ask), isoDate.FindString(q) == q:
		return fmt.Sprintf("%s is a %s, day %d of the year, unix %d.",
			date.Format("2006-01-02"), date.Weekday(), date.YearDay(), date.Unix()), true
	}
	return "", false
}

// unixTime reads seconds, or milliseconds if they are too many.
func unixTime(digits string) (string, bool) {
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return "", false
	}
	at, unit := time.Unix(n, 0), "seconds"
	if n > 99_999_999_999 {
		at, unit = time.UnixMilli(n), "milliseconds"
	}
	return fmt.Sprintf("%s %s are %s UTC.", digits, unit, at.UTC().Format("Monday, 2 January 2006, 15:04:05")), true
}

// parseDate reads a date, with or without a time; without a zone it is UTC.
func parseDate(s string) (time.Time, error) {
	s = strings.Replace(s, " ", "T", 1)
	var err error
	for _, layout := range []string{"2006-01-02", "2006-01-02T15:04", "2006-01-02T15:04:05", time.RFC3339, "2006-01-02T15:04Z07:00"} {
		var at time.Time
		if at, err = time.Parse(layout, s); err == nil {
			return at.UTC(), nil
		}
	}
	return time.Time{}, err
}

// span counts the days between two dates.
func span(a, b time.Time) string {
	days := int64(b.Sub(a) / (24 * time.Hour))
	from, to := a.Format("2006-01-02"), b.Format("2006-01-02")
	switch {
	case days == 0:
		return fmt.Sprintf("%s and %s are less than a day apart.", from, to)
	case days < 0:
		return fmt.Sprintf("%s is %s before %s.", to, count(-days), from)
	}
	return fmt.Sprintf("From %s to %s it is %s.", from, to, count(days))
}

// count puts days into words.
func count(days int64) string {
	if days == 1 {
		return "1 day"
	}
	if days < 14 {
		return fmt.Sprintf("%d days", days)
	}
	return fmt.Sprintf("%d days (%d weeks and %d days)", days, days/7, days%7)
}
