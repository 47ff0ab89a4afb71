//! The report as one HTML page that prints on A4 and reads on a phone. It holds all that it shows.

use std::fmt::Write as _;

use super::format::{
    day, domain_name, escaped, grouped, metric_name, money, money_per, percent, period, plain, points, sum,
};
use super::svg::{self, Bar};
use super::{Report, Standing};
use crate::coliseum::metrics::Granularity;
use crate::units::{Domain, MicroPoints, Window};

const STYLE: &str = include_str!("style.css");
const COLORS: [&str; 4] = ["#6b4fbb", "#14776f", "#b45f06", "#1f5fae"];

pub fn render(report: &Report) -> String {
    let card = &report.card;
    let name = escaped(card.name.as_deref().unwrap_or(&card.id));
    let mut page = String::with_capacity(64 * 1024);
    let as_of = report.as_of.to_rfc3339();
    let _ = write!(
        page,
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}: strength report, {}</title>
<style>
{STYLE}</style>
</head>
<body>
<header>
<p class="kicker">Strength report · {}</p>
<h1>{name}</h1>
<p class="facts">{}</p>
<p class="facts">As of <time datetime="{as_of}">{}</time> UTC, over the log's entries 1 to {}.</p>
</header>
<main>
"#,
        day(&as_of),
        escaped(&period(report.days)),
        facts(report),
        as_of.replace('T', " ").trim_end_matches('Z'),
        grouped(u128::from(report.applied.get())),
    );
    figures(&mut page, report);
    standings(&mut page, report);
    strengths(&mut page, report);
    revenue(&mut page, report);
    page.push_str("<div class=\"pair\">\n");
    cities(&mut page, report);
    genres(&mut page, report);
    page.push_str("</div>\n<div class=\"pair\">\n");
    engagement(&mut page, report);
    metrics(&mut page, report);
    page.push_str("</div>\n");
    notes(&mut page, report);
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn facts(report: &Report) -> String {
    let card = &report.card;
    let mut facts = vec![format!("<code>{}</code>", escaped(&card.id))];
    facts.extend(card.home_city.as_deref().map(escaped));
    if !card.genres.is_empty() {
        facts.push(escaped(&card.genres.join(", ")));
    }
    if let Some(domain) = report.dominant {
        facts.push(format!("strongest in {} ({})", domain_name(domain).to_lowercase(), domain.upper()));
    }
    facts.join(" · ")
}

fn currency(report: &Report) -> String {
    escaped(&report.base_currency.to_uppercase())
}

/// The few numbers that are asked for first.
fn figures(page: &mut String, report: &Report) {
    let found = &report.analytics;
    let currency = currency(report);
    let tiles = [
        ("Fans", grouped(u128::from(found.fans)), "with any activity".to_owned()),
        ("Repeat engagement", percent(found.repeat_rate()), "of fans came on two or more days".to_owned()),
        (
            "Revenue",
            format!("{currency} {}", money(found.revenue_cents)),
            format!("{currency} {} per fan", money_per(found.revenue_per_fan())),
        ),
        (
            "Reach",
            grouped(u128::from(found.reach.cities)),
            format!("cities, as many as {} of equal size", plain(found.reach.effective_cities)),
        ),
    ];
    page.push_str("<section class=\"tiles\">\n");
    for (title, figure, note) in tiles {
        let _ = writeln!(page, r#"<div><h3>{title}</h3><p class="big">{figure}</p><p class="note">{note}</p></div>"#);
    }
    page.push_str("</section>\n");
}

fn standings(page: &mut String, report: &Report) {
    page.push_str(
        "<section>\n<h2>Strengths and ranks</h2>\n<div class=\"scroll\"><table class=\"standings\">\n<thead><tr><th scope=\"col\">Domain</th>",
    );
    for window in ["7 days", "30 days", "All time"] {
        let _ = write!(page, r#"<th scope="col" class="number">{window}</th>"#);
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for domain in Domain::ALL {
        let (color, letter, name) = (COLORS[domain.index()], domain.upper(), domain_name(domain));
        let _ = write!(
            page,
            r#"<tr><th scope="row"><b class="letter" style="background:{color}">{letter}</b> {name}</th>"#
        );
        for window in Window::ALL {
            page.push_str(&standing_cell(&report.standings[domain.index()][window.index()], window));
        }
        page.push_str("</tr>\n");
    }
    page.push_str(
        "</tbody>\n</table></div>\n<p class=\"note\">Points; rank among the artists on the board; change against the window of the same length before.</p>\n</section>\n",
    );
}

fn standing_cell(standing: &Standing, window: Window) -> String {
    let strength = &standing.strength;
    let rank = match standing.rank {
        Some(rank) => format!("rank {} of {}", grouped(u128::from(rank)), grouped(standing.total as u128)),
        None => "not on the board".to_owned(),
    };
    let change = match strength.previous {
        Some(previous) if window != Window::AllTime => {
            let change = strength.score - previous;
            let (class, sign) = match change.get() {
                0 => ("same", "±"),
                1.. => ("up", "+"),
                _ => ("down", ""),
            };
            format!(r#"<span class="{class}">{sign}{}</span>"#, points(change))
        }
        _ => String::new(),
    };
    format!(
        r#"<td class="number"><span class="score">{}</span> {change}<br><span class="note">{rank}</span></td>"#,
        points(strength.score)
    )
}

fn strengths(page: &mut String, report: &Report) {
    let each = report.granularity.name();
    let _ = writeln!(
        page,
        "<section>\n<h2>Strength over time</h2>\n<p class=\"note\">Points earned in each {each}{}.</p>\n<div class=\"charts\">",
        match report.granularity {
            Granularity::Week => ", weeks from Monday",
            Granularity::Hour | Granularity::Day => "",
        }
    );
    for domain in Domain::ALL {
        let bars: Vec<Bar> = (report.strengths.iter())
            .map(|(start, sums)| {
                let score = MicroPoints::new(sums[domain.index()]);
                let value = score.get() as f64 / 1e6;
                Bar { label: day(&start.to_rfc3339()).to_owned(), figure: format!("{} points", points(score)), value }
            })
            .collect();
        let name = domain_name(domain);
        let title = format!("{name} points by {each}");
        let chart = svg::columns(svg::HALF, &title, COLORS[domain.index()], &bars, &axis);
        let _ = writeln!(page, "<figure><figcaption>{} · {name}</figcaption>{chart}</figure>", domain.upper());
    }
    page.push_str("</div>\n</section>\n");
}

fn revenue(page: &mut String, report: &Report) {
    let currency = currency(report);
    let bars: Vec<Bar> = (report.revenue.iter())
        .map(|(start, cents)| Bar {
            label: day(&start.to_rfc3339()).to_owned(),
            figure: format!("{currency} {}", money(*cents)),
            value: *cents as f64 / 100.0,
        })
        .collect();
    let chart = svg::columns(svg::WHOLE, "Revenue by week", COLORS[2], &bars, &axis);
    let _ = writeln!(
        page,
        "<section>\n<h2>Revenue by week</h2>\n<p class=\"note\">Money spent less refunds, in {currency}, weeks from Monday. Other currencies stand under Activity.</p>\n<figure>{chart}</figure>\n</section>"
    );
}

fn cities(page: &mut String, report: &Report) {
    let bars: Vec<Bar> = (report.analytics.reach.top.iter())
        .map(|(city, count)| Bar { label: city.clone(), figure: grouped(u128::from(*count)), value: *count as f64 })
        .collect();
    section(page, "Top cities", "Attendances and plays that name a city.", &bars, COLORS[3]);
}

fn genres(page: &mut String, report: &Report) {
    let bars: Vec<Bar> = (report.analytics.genres.iter().take(10))
        .map(|genre| Bar { label: genre.genre.clone(), figure: percent(Some(genre.share)), value: genre.share })
        .collect();
    let note = format!(
        "Share of scored plays. Diversity {}, as many as {} equal genres.",
        plain(report.analytics.genre_diversity()),
        plain(report.analytics.effective_genres()),
    );
    section(page, "Genres", &note, &bars, COLORS[0]);
}

fn engagement(page: &mut String, report: &Report) {
    let found = &report.analytics;
    let of_fans = |count: u64| if found.fans == 0 { 0.0 } else { count as f64 / found.fans as f64 };
    let bar = |label: &str, count: u64| Bar {
        label: label.to_owned(),
        figure: format!("{} ({})", grouped(u128::from(count)), percent((found.fans > 0).then(|| of_fans(count)))),
        value: of_fans(count),
    };
    let bars = [
        bar("two or more days", found.repeat_fans),
        bar("one day", found.fans - found.repeat_fans),
        bar("paying", found.paying_fans),
    ];
    let bars = if found.fans == 0 { &[][..] } else { &bars[..] };
    section(
        page,
        "Repeat engagement",
        "Fans by the number of UTC days on which they were active, and those who paid.",
        bars,
        COLORS[1],
    );
}

fn section(page: &mut String, title: &str, note: &str, bars: &[Bar], color: &str) {
    let _ = writeln!(page, "<section>\n<h2>{title}</h2>\n<p class=\"note\">{}</p>", escaped(note));
    match bars.is_empty() {
        true => page.push_str("<p>Nothing in this period.</p>\n"),
        false => {
            let _ = writeln!(page, "<figure>{}</figure>", svg::rows(title, color, bars));
        }
    }
    page.push_str("</section>\n");
}

fn metrics(page: &mut String, report: &Report) {
    page.push_str("<section>\n<h2>Activity</h2>\n");
    if report.period.metrics.is_empty() {
        page.push_str("<p>Nothing in this period.</p>\n</section>\n");
        return;
    }
    page.push_str("<table class=\"activity\">\n<thead><tr><th scope=\"col\">What</th><th scope=\"col\" class=\"number\">Events</th><th scope=\"col\" class=\"number\">Sum</th></tr></thead>\n<tbody>\n");
    for ((metric, currency), total) in &report.period.metrics {
        let unit =
            currency.as_deref().map_or_else(String::new, |currency| format!("{} ", escaped(&currency.to_uppercase())));
        let _ = writeln!(
            page,
            r#"<tr><th scope="row">{}</th><td class="number">{}</td><td class="number">{unit}{}</td></tr>"#,
            metric_name(*metric),
            grouped(u128::from(total.count)),
            sum(*metric, total.sum),
        );
    }
    page.push_str("</tbody>\n</table>\n</section>\n");
}

fn notes(page: &mut String, report: &Report) {
    let currency = currency(report);
    let _ = writeln!(
        page,
        "<footer>\n<p>Times are UTC; the period is {}, to the minute. Charts show whole days and weeks, the last of them up to now; of all time the last ten years that have something. A fan is a user who attended, paid, voted, played, favorited, followed or shared. Revenue is money spent less refunds in {currency}, not converted from other currencies. Genre diversity is 1 − Σp² over the genres’ shares p; effective genres and cities are exp(−Σ p ln p).</p>\n</footer>",
        escaped(&period(report.days)),
    );
}

/// A value of an axis in as few characters as tell it.
fn axis(value: f64) -> String {
    let (size, unit) = match value.abs() {
        size if size >= 1e9 => (1e9, "G"),
        size if size >= 1e6 => (1e6, "M"),
        size if size >= 1e4 => (1e3, "k"),
        _ => (1.0, ""),
    };
    let text = format!("{:.2}", value / size);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}{unit}")
}
