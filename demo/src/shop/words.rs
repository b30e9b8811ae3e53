//! The words that the sample data is put together from: several scripts, so that every row proves the character sets.

pub const FIRST_NAMES: [&str; 24] = [
    "Amélie", "Björn", "Chen", "Dagmar", "Émile", "Fatima", "Giulia", "Håkon", "Inés", "Jürgen", "Keiko",
    "Łukasz", "Márta", "Noah", "Olga", "Priya", "Quentin", "Rosa", "Søren", "Tomás", "Uma", "Violeta", "Wei",
    "Zoë",
];
pub const LAST_NAMES: [&str; 24] = [
    "Andersen",
    "Brückner",
    "Castillo",
    "Dubois",
    "Eriksson",
    "Fernández",
    "García",
    "Haddad",
    "Ivanova",
    "Jensen",
    "Kowalski",
    "Lindqvist",
    "Müller",
    "Nakamura",
    "O'Neil",
    "Petrović",
    "Quispe",
    "Rossi",
    "Šimić",
    "Tanaka",
    "Ueda",
    "Vogel",
    "王",
    "Žižka",
];
/// In latin1, as the column is.
pub const STREETS: [&str; 12] = [
    "Königstraße",
    "Rue de l'Été",
    "Calle Peñón",
    "Via Libertà",
    "Harbour Road",
    "Østergade",
    "Großer Weg",
    "Avenue Molière",
    "Mühlgasse",
    "Plaza España",
    "Chestnut Hill",
    "Rua São João",
];
pub const PLACES: [(&str, &str); 14] = [
    ("Berlin", "DE"),
    ("Zürich", "CH"),
    ("Paris", "FR"),
    ("Málaga", "ES"),
    ("København", "DK"),
    ("Kraków", "PL"),
    ("Αθήνα", "GR"),
    ("杭州", "CN"),
    ("東京", "JP"),
    ("Singapore", "SG"),
    ("São Paulo", "BR"),
    ("Dublin", "IE"),
    ("Reykjavík", "IS"),
    ("Київ", "UA"),
];
pub const NICKNAMES: [&str; 8] =
    ["🌻 sunny", "night owl 🦉", "J.", "le chat", "小猫", "the \\o/ one", "👩‍🌾 farmer", "\"Quote\""];
pub const CATEGORIES: [&str; 6] = ["garden", "kitchen", "outdoor", "music", "books", "pets"];
pub const SEGMENTS: [&str; 3] = ["private", "business", "wholesale"];
pub const MATERIALS: [&str; 12] = [
    "oak",
    "steel",
    "linen",
    "bamboo",
    "cast iron",
    "recycled glass",
    "ceramic",
    "leather",
    "cork",
    "brass",
    "wool",
    "paper",
];
pub const QUALITIES: [&str; 12] = [
    "folding",
    "large",
    "classic",
    "travel",
    "hand-made",
    "stackable",
    "vintage",
    "quiet",
    "two-piece",
    "weatherproof",
    "slim",
    "children's",
];
/// What is sold, in the order of the categories.
pub const THINGS: [[&str; 6]; 6] = [
    ["watering can", "trellis", "planter", "bench", "lantern", "compost bin"],
    ["teapot", "chopping board", "pan", "bread tin", "grinder", "jug"],
    ["tent peg set", "hammock", "flask", "rucksack", "compass", "camp stove"],
    ["ukulele", "metronome", "music stand", "shaker", "recorder", "drum pad"],
    ["notebook", "atlas", "cook book", "sketch pad", "bookend", "reading lamp"],
    ["bird feeder", "cat tree", "dog bed", "aquarium", "leash", "hay rack"],
];
pub const NOTES: [&str; 8] = [
    "Please ring twice",
    "Leave it with the neighbour 🏡",
    "Happy birthday, Mamá! 🎂🎉",
    "C:\\orders\\2024",
    "Don't fold",
    "请在周末送货",
    "back door\nsecond bell",
    "♥",
];
pub const ENGRAVINGS: [&str; 6] = ["For Zoë", "⭐⭐⭐", "2024", "Grand'mère", "愛", "M & S"];
pub const CURRENCIES: [&str; 5] = ["EUR", "USD", "CHF", "CNY", "DKK"];
pub const OPTIONS: [&str; 4] = ["gift wrap", "express", "pickup", "insured"];
pub const STATUSES: [&str; 6] = ["new", "paid", "packed", "shipped", "delivered", "returned"];
pub const METHODS: [&str; 4] = ["card", "transfer", "wallet", "invoice"];
