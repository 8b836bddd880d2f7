"""The twelve domains that beneficial-trait scenarios are set in (paper, section 2)."""

DOMAINS: dict[str, str] = {
    "health": "health and medicine",
    "science": "scientific research and scholarly reasoning",
    "business": "business and economics",
    "engineering": "engineering and technical operations",
    "law": "law, ethics and governance",
    "education": "education and pedagogy",
    "ai_research": "meta-AI and alignment research",
    "security": "national security and international relations",
    "mathematics": "mathematics and formal reasoning",
    "games": "games and multi-agent interactions",
    "art": "art, visual art and music",
    "writing": "creative writing",
}
"""Title of each domain by its short name."""
